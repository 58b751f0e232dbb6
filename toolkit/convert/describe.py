"""Reads family, parameters, bytes and quantization of a language model's weights.

Reads config.json and the headers of the safetensors files; never a tensor.
"""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from toolkit.errors import ConvertError
from toolkit.kinds.llm.facts import Details

_HEADER_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000  # the format's own bound


def describe(weights: Path) -> Details:
    """Describes a Hugging Face directory. Tied tensors count once, as they are stored.

    Raises ConvertError for a file that is cut short.
    """
    config = json.loads((weights / "config.json").read_text())
    files = sorted(weights.glob("*.safetensors"))
    counts: Counter[str] = Counter()
    for file in files:
        counts += _numbers(file)
    quantized = config.get("quantization_config")
    return Details(
        family=str((config.get("text_config") or config).get("model_type") or ""),
        # packed tensors hold several parameters in one number, so these are not counted
        parameters=0 if quantized else sum(counts.values()),
        size_bytes=sum(file.stat().st_size for file in files),
        quantization=_quantization(quantized, counts),
    )


def _numbers(file: Path) -> Counter[str]:
    """How many numbers of which type a file holds."""
    try:
        tensors, start = _header(file)
        end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
        if file.stat().st_size < start + end:
            raise ValueError("it is cut short")
        counts: Counter[str] = Counter()
        for tensor in tensors:
            counts[tensor["dtype"]] += math.prod(tensor["shape"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConvertError(
            f"{file.name} is not a complete safetensors file: {error}", hint="download it again"
        ) from error
    return counts


def _header(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The tensors, and where in the file their data begins."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_HEADER_LENGTH_BYTES), "little")
        if length > min(_MOST_HEADER_BYTES, file.stat().st_size):
            raise ValueError("its header is longer than the file")
        header = json.loads(stream.read(length))
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    return tensors, _HEADER_LENGTH_BYTES + length


def _quantization(quantized: dict[str, object] | None, counts: Counter[str]) -> str:
    if quantized:
        return str(quantized.get("quant_method", "")).upper()
    return counts.most_common(1)[0][0] if counts else ""
