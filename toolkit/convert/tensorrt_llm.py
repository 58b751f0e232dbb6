"""A Hugging Face language model → what TensorRT-LLM's Triton backend serves, and how to serve it.

The current release loads Hugging Face and ModelOpt directories itself: there is no engine to build.
Invariant: nothing here claims to have run. Only NVIDIA's container has TensorRT-LLM, so its command
is written down and the result says `"executed": false`.
"""

import filecmp
import json
import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.convert.checkpoint import cache_bytes_per_token
from toolkit.convert.llmapi import IMAGE, command, write_repository
from toolkit.convert.parity import SENTENCES, Check, settle
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import read_tensors
from toolkit.errors import ConvertError, MissingExtra
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
_KEPT = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
_FP8_LIMIT = 0.25
"""Largest relative error of one FP8 weight matrix: 3 mantissa bits round by 1/16 at most."""


def convert_tensorrt_llm(
    folder: Path, place: Path, quantization: str | None, texts: list[str], progress: Progress
) -> dict[str, Any]:
    """Writes `checkpoint/`, `model_repository/` and `serve.sh`.

    `quantization` is None or `fp8` (through ModelOpt). Returns what is to be told. Raises
    ConvertError, and MissingExtra without ModelOpt.
    """
    config = _check(folder, quantization)
    checkpoint = place / "checkpoint"
    checkpoint.mkdir()
    if quantization is None:
        with progress.step("copy weights", unit="files"):
            for pattern in _KEPT:
                for file in folder.glob(pattern):
                    _link(file, checkpoint / file.name)
        changed = float(_changed(folder, checkpoint))
        settle(
            Check("checkpoint", "files that differ from the source", changed, 0.0),
            "the copied weights differ from their source",
        )
    else:
        _quantize_fp8(folder, checkpoint, texts, progress)
    write_repository(place, config)
    return {
        **_about(config, checkpoint),
        "executed": False,
        "why": "TensorRT-LLM runs in NVIDIA's container on a GPU; nothing was loaded in it here",
        "image": IMAGE,
        "command": command(place),
    }


def _check(folder: Path, quantization: str | None) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ConvertError(f"{folder} is no checkpoint: config.json cannot be read") from error
    name = (config.get("architectures") or ["none"])[0]
    if name not in ARCHITECTURES:
        raise ConvertError(
            f"TensorRT-LLM is not known to load {name}", hint=f"known: {', '.join(ARCHITECTURES)}"
        )
    if quantization not in (None, "fp8"):
        raise ConvertError(f"no ModelOpt recipe '{quantization}' here", hint="known: fp8")
    if "quantization_config" in config:
        raise ConvertError(
            f"{folder} is quantized by {config['quantization_config'].get('quant_method')}; whether"
            " TensorRT-LLM reads that is not established",
            hint="start from the original weights; --fp8 writes what its own tools write",
        )
    if not read_tensors(folder):
        raise ConvertError(f"{folder} holds no safetensors")
    return config


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _changed(folder: Path, checkpoint: Path) -> int:
    """Files that are not bit for bit their source's."""
    return sum(
        not file.samefile(folder / file.name)
        and not filecmp.cmp(file, folder / file.name, shallow=False)
        for file in checkpoint.iterdir()
    )


def _quantize_fp8(folder: Path, checkpoint: Path, texts: list[str], progress: Progress) -> None:
    """FP8 weights and activations by ModelOpt, exported as a Hugging Face directory."""
    with progress.step("quantize with ModelOpt", total=3, unit="stages") as step, quiet():
        try:
            torch: Any = import_module("torch")
            quantization: Any = import_module("modelopt.torch.quantization")
            export: Any = import_module("modelopt.torch.export")
        except ImportError as error:
            raise MissingExtra("tensorrt-llm", f"FP8 for TensorRT-LLM ({error})") from error
        transformers: Any = import_module("transformers")
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = model.to(device).eval()
        step.advance()

        def calibrate(module: Any) -> None:
            with torch.inference_mode():
                for text in [*SENTENCES, *texts]:
                    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
                    module(ids.input_ids.to(device))

        model = quantization.quantize(model, quantization.FP8_DEFAULT_CFG, calibrate)
        step.advance()
        export.export_hf_checkpoint(model, export_dir=str(checkpoint))
        tokenizer.save_pretrained(checkpoint)
        step.advance()
        _compare_fp8(folder, checkpoint, torch)


def _compare_fp8(folder: Path, checkpoint: Path, torch: Any) -> None:
    """Each written weight times its scale, against the source's."""
    safe_open: Any = import_module("safetensors").safe_open
    sources = {
        name: file for file in folder.glob("*.safetensors") for name in _names(safe_open, file)
    }
    worst = 0.0
    rounded = 0
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as written:
            names = set(written.keys())
            for name in names:
                scale = name.removesuffix("weight") + "weight_scale"
                if not name.endswith(".weight") or scale not in names:
                    continue
                with safe_open(sources[name], framework="pt") as source:
                    wanted = source.get_tensor(name).float()
                found = written.get_tensor(name).to(torch.float32) * written.get_tensor(scale)
                worst = max(worst, float((found - wanted).norm() / wanted.norm()))
                rounded += 1
    if not rounded:
        raise ConvertError("ModelOpt wrote no FP8 weights", hint="nothing was kept")
    settle(
        Check("FP8 weights", "largest relative error of one matrix", worst, _FP8_LIMIT),
        f"an FP8 weight differs by {worst:.3g} from its source, more than {_FP8_LIMIT}",
    )


def _names(safe_open: Any, file: Path) -> list[str]:
    with safe_open(file, framework="pt") as content:
        return list(content.keys())


def _about(config: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    """What the weights take, in bytes."""
    size = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
    return {"weights_bytes": size, "cache_bytes_per_token": cache_bytes_per_token(config)}
