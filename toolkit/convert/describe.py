"""What people ask of a language model's weights: family, parameters, bytes, quantization.

Reads config.json and the headers of the safetensors files; never a tensor.
"""

import json
import math
from collections import Counter
from pathlib import Path

from toolkit.facts import Details

_HEADER_LENGTH_BYTES = 8


def describe(weights: Path) -> Details:
    """Of a Hugging Face directory. Tied tensors count once, as they are stored."""
    config = json.loads((weights / "config.json").read_text())
    files = sorted(weights.glob("*.safetensors"))
    counts: Counter[str] = Counter()
    for file in files:
        counts += _numbers(file)
    quantized = config.get("quantization_config")
    return Details(
        family=str(config.get("text_config", config).get("model_type", "")),
        # packed tensors hold several parameters in one number, so these are not counted
        parameters=0 if quantized else sum(counts.values()),
        size_bytes=sum(file.stat().st_size for file in files),
        quantization=_quantization(quantized, counts),
    )


def _numbers(file: Path) -> Counter[str]:
    """How many numbers of which type a file holds."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_HEADER_LENGTH_BYTES), "little")
        header = json.loads(stream.read(length))
    counts: Counter[str] = Counter()
    for name, tensor in header.items():
        if name != "__metadata__":
            counts[tensor["dtype"]] += math.prod(tensor["shape"])
    return counts


def _quantization(quantized: dict[str, object] | None, counts: Counter[str]) -> str:
    if quantized:
        return str(quantized.get("quant_method", "")).upper()
    return counts.most_common(1)[0][0] if counts else ""
