"""Converts a Hugging Face language model to files for TensorRT-LLM's Triton backend.

The current release loads Hugging Face and ModelOpt directories itself: there is no engine to build.
Nothing is executed here: only NVIDIA's container has TensorRT-LLM. So the result contains the
command to run, and `"executed": false`.
"""

import filecmp
from pathlib import Path
from typing import Any

from toolkit.convert.checkpoint import (
    architecture,
    cache_bytes_per_token,
    files_of,
    read_config,
)
from toolkit.convert.llmapi import IMAGE, command, write_repository
from toolkit.convert.modelopt import RECIPES, quantize
from toolkit.convert.parity import Check, record
from toolkit.convert.safetensors_file import read_tensors
from toolkit.convert.steps import link_or_copy
from toolkit.errors import ConvertError
from toolkit.progress import Progress

ARCHITECTURES = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Gemma3ForCausalLM",
    "Phi3ForCausalLM",
    "DeepseekV3ForCausalLM",
)
"""What TensorRT-LLM's PyTorch backend documents as supported and this conversion passes on."""


def convert_tensorrt_llm(
    folder: Path, place: Path, quantization: str | None, texts: list[str], progress: Progress
) -> dict[str, Any]:
    """Writes `checkpoint/`, `model_repository/` and `serve.sh`.

    `quantization` is None or one of ModelOpt's `RECIPES`. Returns the record. Raises ConvertError
    if ModelOpt fails, and MissingExtra without it.
    """
    config = _check(folder, quantization)
    checkpoint = place / "checkpoint"
    checkpoint.mkdir()
    if quantization is None:
        with progress.step("copy weights", unit="files"):
            for file in files_of(folder, config):
                link_or_copy(file, checkpoint / file.name)
        changed = float(_changed(folder, checkpoint))
        record(
            Check("checkpoint", "files that differ from the source", changed, 0.0),
            "the copied weights differ from their source",
        )
    else:
        quantize(folder, checkpoint, RECIPES[quantization], texts, progress)
    write_repository(place, config)
    return {
        **_about(config, checkpoint),
        "executed": False,
        "why": "TensorRT-LLM runs in NVIDIA's container on a GPU, so the result was not loaded",
        "image": IMAGE,
        "command": command(place),
    }


def _check(folder: Path, quantization: str | None) -> dict[str, Any]:
    config = read_config(folder)
    name = architecture(folder, config)
    if name not in ARCHITECTURES:
        raise ConvertError(
            f"TensorRT-LLM is not known to load {name}", hint=f"known: {', '.join(ARCHITECTURES)}"
        )
    if quantization is not None and quantization not in RECIPES:
        raise ConvertError(
            f"there is no ModelOpt recipe '{quantization}'", hint=f"known: {', '.join(RECIPES)}"
        )
    if config.get("quantization_config"):
        raise ConvertError(
            f"{folder} is quantized by {config['quantization_config'].get('quant_method')}; it is"
            " not known whether TensorRT-LLM can read that",
            hint="start from the original weights; --fp8, --awq and --nvfp4 write what it reads",
        )
    if not read_tensors(folder):
        raise ConvertError(f"{folder} does not contain safetensors")
    return config


def _changed(folder: Path, checkpoint: Path) -> int:
    """Files that are not bit for bit their source's."""
    return sum(
        # hard links are the same file, so gigabytes need not be read
        not file.samefile(folder / file.name)
        and not filecmp.cmp(file, folder / file.name, shallow=False)
        for file in checkpoint.iterdir()
    )


def _about(config: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    """The size of the weights, in bytes."""
    size = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
    return {"weights_bytes": size, "cache_bytes_per_token": cache_bytes_per_token(config)}
