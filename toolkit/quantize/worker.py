"""Quantizes one checkpoint with llm-compressor: job in, directory out. Runs in its own process.

Invariant: what it writes is what vLLM loads, in compressed-tensors' format or AutoAWQ's.
"""

import os
import resource
import shutil
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from toolkit.convert.strict import load
from toolkit.errors import QuantizeError
from toolkit.quantize.events import Events, Job, Passes, work
from toolkit.quantize.layers import check_fused
from toolkit.quantize.methods import NEVER_QUANTIZED, Method, find_method, is_ignored
from toolkit.quantize.tokens import pack_samples

_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "chat_template.jinja", "*.model", "vocab.*")


def main() -> None:
    """The worker's entry point, called by `toolkit.quantize.process`."""
    work(_run)


def _run(job: Job, events: Events) -> Job:
    """Writes `job["output"]`; returns seconds, peak memory and what was quantized how."""
    method, started = find_method(job["method"]), time.monotonic()
    device = _device(job["device"])
    with events.step("load the library", unit="modules"):
        import_module("llmcompressor")
    _check_architecture(method, job["architecture"])
    with events.step("load the model", unit="tensors"):
        model = load(AutoModelForCausalLM, Path(job["source"]), dtype=_precision(device))
        tokenizer = AutoTokenizer.from_pretrained(job["source"], local_files_only=True)
    batches = _batches(job, tokenizer) if method.reads_text else None
    recipe = _recipe(method, job, _left_out(model, job["ignore"]))
    _compress(model, recipe, batches, device, events)
    output = Path(job["output"])
    with events.step("save", unit="files"):
        _save(model, tokenizer, job, output)
    return {
        "seconds": time.monotonic() - started,
        "calibration_tokens": sum(batch["input_ids"].numel() for batch in batches or ()),
        "calibration_samples": len(batches or ()),
        "device": device,
        "peak_memory_bytes": _peak_memory(),
        "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
    }


def _device(device: str) -> str:
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise QuantizeError(
            "--device cuda: torch does not find a CUDA device",
            hint="use --device cpu, or install a CUDA build of torch on a machine with a GPU",
        )
    return "cuda" if there and device != "cpu" else "cpu"


def _precision(device: str) -> Any:
    """CPUs compute 16-bit numbers slowly or not at all; what is saved has the source's type."""
    return "auto" if device == "cuda" else torch.float32


def _check_architecture(method: Method, architecture: str) -> None:
    """Refuses what the library cannot do, and says what it could."""
    if architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        raise QuantizeError(
            f"the architecture {architecture} is not supported by the installed transformers",
            hint="newer versions of the libraries may support it; nothing was loaded",
        )
    if not method.smooths:
        return
    mappings = import_module("llmcompressor.modifiers.transform.awq.mappings")
    registry: dict[str, Any] = mappings.AWQ_MAPPING_REGISTRY
    if architecture not in registry and method.name == "awq":
        known = sorted(name for name in registry if name.endswith("CausalLM"))
        raise QuantizeError(
            f"--awq does not support {architecture}",
            hint=f"use --gptq, --int4-rtn or --fp8; --awq supports {', '.join(known)}",
        )


def _left_out(model: Any, ignore: list[str]) -> list[str]:
    """Exact names of linear layers that stay in float; the library does not match ends of names."""
    linear = [n for n, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    head = model.get_output_embeddings()
    layers = [
        name
        for name in linear
        if NEVER_QUANTIZED.search(name)
        or model.get_submodule(name) is head
        or is_ignored(name, ignore)
    ]
    check_fused([n for n in linear if not NEVER_QUANTIZED.search(n)], layers)
    return layers


def _recipe(method: Method, job: Job, ignore: list[str]) -> list[Any]:
    """The library's modifiers, in the order in which they run."""
    modifiers = import_module("llmcompressor.modifiers.quantization")
    # `llmcompressor.modifiers.awq` is deprecated since it moved here
    transforms = import_module("llmcompressor.modifiers.transform")
    gptq, rounding = modifiers.GPTQModifier, modifiers.QuantizationModifier
    if method.name == "int8":
        # SmolLM2-135M: perplexity 27.36 before, 27.90 with both, 28.11 rounded to nearest
        smooth = transforms.SmoothQuantModifier(smoothing_strength=0.8)
        return [smooth, gptq(targets="Linear", scheme="W8A8", ignore=ignore)]
    if method.name == "fp8":
        return [rounding(targets="Linear", scheme="FP8_DYNAMIC", ignore=ignore)]
    weights = {
        "num_bits": method.bits,
        "type": "int",
        "strategy": "group",
        "group_size": job["group_size"],
        "symmetric": job["symmetric"],
        "dynamic": False,
    }
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    if method.name == "gptq":
        return [gptq(config_groups=groups, ignore=ignore)]
    scaling = [transforms.AWQModifier(n_grid=job["search"])] if method.name == "awq" else []
    return [*scaling, rounding(config_groups=groups, ignore=ignore)]


def _batches(job: Job, tokenizer: Any) -> list[dict[str, torch.Tensor]]:
    """One row each, all of one length: padding would be measured as if it were text."""
    rows = pack_samples(job["samples"], tokenizer, job["count"], job["length"])
    return [
        {"input_ids": torch.tensor([row]), "attention_mask": torch.ones(1, len(row)).long()}
        for row in rows
    ]


def _compress(model: Any, recipe: list[Any], batches: Any, device: str, events: Events) -> None:
    oneshot = import_module("llmcompressor").oneshot
    if device == "cpu":
        _keep_off_accelerators()
    with events.step("quantize", unit="layers") as step:
        # the library's pipeline gives each modifier that reads text a pass of its own
        _count_layers(Passes(step, sum(part.requires_calibration_data for part in recipe)))
        if batches is None:
            oneshot(model=model, recipe=recipe)
        else:
            # a row is a batch already; collating would add an axis
            loader = DataLoader(batches, batch_size=None)
            oneshot(
                model=model, recipe=recipe, dataset=loader, num_calibration_samples=len(batches)
            )


def _keep_off_accelerators() -> None:
    """Pinning memory for copies to a device needs a device; the library pins without asking."""
    if not torch.accelerator.is_available():
        cache: Any = import_module("llmcompressor.pipelines.cache")
        # without this, AWQ of 0.14.0.1 raises "Cannot access accelerator device"
        cache.IntermediatesCache.pin_memory = lambda *_, **__: None


def _count_layers(passes: Passes) -> None:
    """Reports each part of the model that the library has finished, in each of its passes."""
    pipeline: Any = import_module("llmcompressor.pipelines.sequential.pipeline")
    callbacks: Any = import_module("llmcompressor.core").LifecycleCallbacks
    trace, end = pipeline.trace_subgraphs, callbacks.sequential_epoch_end

    def tell_begin(*arguments: Any, **options: Any) -> Any:
        parts = trace(*arguments, **options)
        passes.begin(len(parts))
        return parts

    def tell_end(*arguments: Any, **options: Any) -> Any:
        result = end(*arguments, **options)
        passes.advance()
        return result

    # replaced in the library: it reports only to tqdm
    pipeline.trace_subgraphs = tell_begin
    callbacks.sequential_epoch_end = tell_end


def _save(model: Any, tokenizer: Any, job: Job, output: Path) -> None:
    _restore_precision(model, job["source"])
    model.save_pretrained(output, save_compressed=True, max_shard_size=job["shard_size"])
    tokenizer.save_pretrained(output)
    source = Path(job["source"])
    for pattern in _TOKENIZER:
        for file in source.glob(pattern):  # as published: saving again may add or lose fields
            shutil.copyfile(file, output / file.name)
    for file in output.iterdir():
        file.chmod(0o644)  # safetensors writes 0600, and Triton may run as another user


def _restore_precision(model: Any, source: str) -> None:
    """What stayed a float, scales included, in the source's type: engines compute with it."""
    dtype = AutoConfig.from_pretrained(source, local_files_only=True).dtype or torch.float32
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype is torch.float32:
            tensor.data = tensor.data.to(dtype)
    model.config.dtype = dtype


def _peak_memory() -> int:
    # Linux counts it in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
