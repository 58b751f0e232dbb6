"""The arguments of the vLLM engine that a build writes for a language model and a target.

Arguments that are chosen when the model is loaded (number type on a CPU, the GPU's share) follow
the rules of python_backends/vllm_engine/machine.py and vLLM.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.fit.architecture import Architecture
from toolkit.fit.quantization import Precision, cache_number_bytes, read_precision
from toolkit.kinds.llm.facts import LlmFacts
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.repository.configs import model_configs
from toolkit.targets import Target

ENGINE_FIELD = "engine_args"
"""The field of models.yaml that holds the engine's arguments."""
GPU_BLOCK, CPU_BLOCK = 16, 128
"""Tokens of one block of the KV cache."""
GPU_SHARE = 0.9
"""vLLM's `gpu_memory_utilization` unless it is told otherwise."""
STEP_TOKENS = 2048
SEQUENCES = 16
"""The concurrency to plan for where neither the question nor the engine names one."""


@dataclass(frozen=True, slots=True)
class Engine:
    """`cache_bytes` is a fixed size of the KV cache, None where it gets what is left."""

    context_length: int
    sequences: int | None
    step: int
    precision: Precision
    cache_number_bytes: int
    cache_bytes: int | None
    block: int
    share: float | None
    tensor_parallel: int | None
    pipeline_parallel: int | None


def engine_of(
    name: str,
    entry: LlmEntry,
    architecture: Architecture,
    config: Mapping[str, Any],
    target: Target,
    *,
    avx512: bool,
) -> Engine:
    """The engine of `entry`. Raises ConvertError when the entry asks more than the weights can."""
    arguments = _arguments(name, entry, architecture, target)
    on_gpu = target.gpu
    dtype = str(arguments.get("dtype", "auto"))
    if dtype == "auto":
        dtype = architecture.dtype if on_gpu or avx512 else "float32"
        # vLLM's `auto` never keeps float32 on a GPU
        dtype = "bfloat16" if dtype == "float32" and on_gpu else dtype
    asked = str(arguments.get("quantization") or entry.quantization or "")
    precision = read_precision(config, dtype, asked)
    return Engine(
        context_length=entry.context_length,
        sequences=_whole(arguments, "max_num_seqs"),
        step=_whole(arguments, "max_num_batched_tokens") or STEP_TOKENS,
        precision=precision,
        cache_number_bytes=cache_number_bytes(
            str(arguments.get("kv_cache_dtype", "auto")), precision.number_bytes
        ),
        cache_bytes=_cache_bytes(arguments, entry.environment, on_gpu),
        block=_whole(arguments, "block_size") or (GPU_BLOCK if on_gpu else CPU_BLOCK),
        share=_share(arguments),
        tensor_parallel=_whole(arguments, "tensor_parallel_size"),
        pipeline_parallel=_whole(arguments, "pipeline_parallel_size"),
    )


def _arguments(
    name: str, entry: LlmEntry, architecture: Architecture, target: Target
) -> dict[str, Any]:
    """The arguments that a build writes into `<name>.engine`: the target's defaults and the entry's
    own."""
    facts = LlmFacts(
        context_length=architecture.context_length,
        chat=True,
        # LlmFacts counts two bytes a number, whatever the engine computes in
        cache_bytes_per_token=2 * architecture.numbers_per_token,
    )
    for config in model_configs(name, entry, facts, "", target):
        if "engine" in config.parameters:
            arguments: dict[str, Any] = json.loads(config.parameters["engine"].string_value)
            if "engine_cpu" in config.parameters:
                # never a contradiction: the build leaves out what the entry says itself
                arguments |= json.loads(config.parameters["engine_cpu"].string_value)
            return arguments
    return dict(entry.engine_args)


def _whole(arguments: Mapping[str, Any], name: str) -> int | None:
    value = arguments.get(name)
    return int(value) if isinstance(value, int | float) else None


def _share(arguments: Mapping[str, Any]) -> float | None:
    value = arguments.get("gpu_memory_utilization")
    return float(value) if isinstance(value, int | float) else None


def _cache_bytes(
    arguments: Mapping[str, Any], environment: Mapping[str, str | int], on_gpu: bool
) -> int | None:
    if (fixed := _whole(arguments, "kv_cache_memory_bytes")) is not None:
        return fixed
    room = str(environment.get("VLLM_CPU_KVCACHE_SPACE", ""))
    return int(float(room) * 2**30) if room and not on_gpu else None
