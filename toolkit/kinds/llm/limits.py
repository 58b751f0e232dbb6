"""Engine arguments that do not fit a language model's weights, as vLLM checks them at its start.

Follows `ModelConfig.verify_with_parallel_config` and `_verify_quantization`, and `EngramConfig`,
of vLLM 0.32.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import ConvertError
from toolkit.names import shown

_NEED_QUANTIZED = {"awq", "gptq", "compressed-tensors", "modelopt", "quark", "fbgemm_fp8"}
"""Methods that load only weights of their own format."""
_QUANTIZATION = ("engine_args", "quantization")
_NGRAMS = {
    "DeepseekV41ForCausalLM": "engram_layer_ids",
    "Qwen4ExpForCausalLM": "ple_layer_ids",
    "Qwen4ExpForConditionalGeneration": "ple_layer_ids",
}
"""Architecture → the setting of its config that lists its n-gram layers (`config/engram.py`)."""
_HEADS = ("num_attention_heads", "n_head")
_LAYERS = ("num_hidden_layers", "n_layer")


def check_cache(arguments: Mapping[str, Any], context_length: int, token_bytes: int) -> None:
    """Raises ConvertError if the KV cache cannot hold one request at full length, even with 4 bits
    a number; `token_bytes` is what a token takes at 16."""
    size, least = arguments.get("kv_cache_memory_bytes"), context_length * token_bytes
    if isinstance(size, int) and size < least // 4:
        raise ConvertError(
            f"is {size}, and one request of {context_length} tokens takes {least} bytes",
            hint=f"set it to {2 * least} or more, or omit it",
            field=("engine_args", "kv_cache_memory_bytes"),
        )


def check_weights(arguments: Mapping[str, Any], weights: Path) -> None:
    """Raises ConvertError for arguments that `weights`, the folder to load, cannot serve."""
    config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
    _check_parallel(arguments, config.get("text_config") or config)
    _check_overrides(arguments.get("hf_overrides"), config)
    _check_quantization(arguments.get("quantization"), config.get("quantization_config"))
    if arguments.get("engram_config") is not None:
        _check_ngrams(config)


def _check_ngrams(config: Mapping[str, Any]) -> None:
    names = config.get("architectures") or [""]
    layers = _NGRAMS.get(str(names[0]), "")
    if not (config.get("text_config") or config).get(layers):
        raise ConvertError(
            "is set, and the model has no n-gram layers (Engram)",
            hint="omit it",
            field=("engine_args", "engram_config"),
        )


def _check_parallel(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    size, heads = arguments.get("tensor_parallel_size", 1), _number(config, _HEADS)
    if isinstance(size, int) and size > 0 and heads and heads % size:
        fits = [str(each) for each in range(1, heads + 1) if heads % each == 0]
        raise ConvertError(
            f"is {size}, which does not divide the model's {heads} attention heads",
            hint=f"choose one of {', '.join(fits)}",
            field=("engine_args", "tensor_parallel_size"),
        )
    size, layers = arguments.get("pipeline_parallel_size", 1), _number(config, _LAYERS)
    if isinstance(size, int) and layers and size > layers:
        raise ConvertError(
            f"is {size}, more than the model's {layers} layers",
            hint=f"set it to {layers} or less",
            field=("engine_args", "pipeline_parallel_size"),
        )


def _check_overrides(asked: object, config: Mapping[str, Any]) -> None:
    """A setting keeps its type; a number may be whole or not."""
    for name, value in asked.items() if isinstance(asked, Mapping) else ():
        has = config.get(str(name))
        if has is None or value is None:
            continue
        kinds = (int, float) if isinstance(has, int | float) else (type(has),)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(has, bool):
            raise ConvertError(
                f"is {shown(value)}, and the model's config has {shown(has)}",
                hint="write a value of the same type",
                field=("engine_args", "hf_overrides", str(name)),
            )


def _check_quantization(asked: object, has: object) -> None:
    if not isinstance(asked, str) or _family(asked) not in _NEED_QUANTIZED:
        return
    method = str(has.get("quant_method", "")) if isinstance(has, Mapping) else ""
    if not method:
        raise ConvertError(
            f"is '{asked}', and the weights are not quantized",
            hint="omit it, or quantize the weights with `quantization:` in the entry",
            field=_QUANTIZATION,
        )
    if _family(method) in _NEED_QUANTIZED - {_family(asked)}:
        raise ConvertError(
            f"is '{asked}', and the weights are quantized with '{method}'",
            hint="omit it",
            field=_QUANTIZATION,
        )


def _family(method: str) -> str:
    """The format of a method; its kernels have names of their own: `awq_marlin`."""
    return method.removeprefix("auto_").removesuffix("_marlin")


def _number(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    found = (config.get(name) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), None)
