"""Reads and checks a language model's directory before it is quantized."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.convert.checkpoint import check_config
from toolkit.convert.complete import check_complete
from toolkit.convert.safetensors_file import Tensor, read_tensors, weight_files
from toolkit.errors import QuantizeError
from toolkit.quantize.methods import quantized_already

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Whole safetensors of a causal language model that is not quantized yet."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        return str(self.config["architectures"][0])

    @property
    def size_bytes(self) -> int:
        return weight_bytes(self.folder)


def weight_bytes(folder: Path) -> int:
    """Bytes of a directory's weights."""
    return sum(file.stat().st_size for file in weight_files(folder))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads a directory. Raises QuantizeError or ConvertError that says what it is instead."""
    config = _config(folder)
    if not any(folder.glob("*.safetensors")):
        pickles = [file.name for pattern in _PICKLES for file in folder.glob(pattern)]
        if pickles:
            raise QuantizeError(
                f"{folder} contains pickles ({', '.join(pickles[:3])}), which can run code when"
                " they are loaded",
                hint=f"toolkit convert {folder} --to safetensors --from-pickle converts them"
                " safely",
            )
        raise QuantizeError(
            f"{folder} does not contain safetensors weights",
            hint="name a directory with *.safetensors; `toolkit convert --to safetensors` reads "
            "GGUF files and pickles",
        )
    if not (folder / "tokenizer.json").exists() and not (folder / "tokenizer.model").exists():
        raise QuantizeError(f"{folder} has no tokenizer.json", hint="copy it from the model's page")
    # quantized ones are refused below; here they could be called incomplete instead
    if "quantization_config" not in config:
        check_complete(folder, config)
    tensors = read_tensors(folder)
    if "quantization_config" in config or quantized_already(tensors):
        raise QuantizeError(
            f"{folder} is already quantized ({_quantization(config)})",
            hint="use the original weights: the errors of two quantizations add up",
        )
    return Checkpoint(folder, config, tensors)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text())
        check_config(config)
        names = config.get("architectures") or []
    except OSError as error:
        raise QuantizeError(
            f"{folder} is not a checkpoint: it has no config.json",
            hint="name a Hugging Face directory, a .gguf file, an encoder's .onnx file, "
            "hf:ORG/NAME or package:NAME==VERSION/path",
        ) from error
    except (ValueError, TypeError) as error:
        raise QuantizeError(f"{folder / 'config.json'} is not valid: {error}") from error
    if not names or not str(names[0]).endswith(("ForCausalLM", "LMHeadModel")):
        found = names[0] if names else "none"
        raise QuantizeError(
            f"{folder} is not a causal language model: its architecture is {found}",
            hint="architectures of language models end in ForCausalLM; encoders are quantized as"
            " ONNX: "
            "toolkit convert DIR --to onnx, then toolkit quantize …/encoder/model.onnx",
        )
    return dict(config)


def _quantization(config: dict[str, Any]) -> str:
    about = config.get("quantization_config")
    return str(about.get("quant_method", "unknown")) if isinstance(about, dict) else "packed"
