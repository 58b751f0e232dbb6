"""Bytes of a model's numbers: the types of weights, quantized weights, and the KV cache.

Methods are those that vLLM knows by name, in a checkpoint's `quantization_config` or as the engine
argument `quantization`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.fit.architecture import Architecture

_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2}
_BITS = {
    "fp8": 8.0,
    "fbgemm_fp8": 8.0,
    "ptpc_fp8": 8.0,
    "experts_int8": 8.0,
    "int8": 8.0,
    "bitsandbytes": 4.5,
    "mxfp4": 4.25,
    "nvfp4": 4.5,
    "modelopt_fp4": 4.5,
    "modelopt": 8.0,
}
"""Bits of one weight, its share of scales included."""


@dataclass(frozen=True, slots=True)
class Precision:
    """`bits` of a quantized weight, None where weights have the model's own type."""

    number_bytes: int
    bits: float | None = None
    method: str = ""

    @property
    def label(self) -> str:
        """The name of the precision in messages."""
        plain = "float32" if self.number_bytes == 4 else "16 bit"
        return f"{self.method}, {self.bits:g} bits" if self.bits else plain


def number_bytes(dtype: str) -> int:
    """Bytes of one number; what is unknown counts as 2, as vLLM would choose."""
    return _BYTES.get(dtype.removeprefix("torch."), 2)


def cache_number_bytes(kv_cache_dtype: str, model_bytes: int) -> int:
    """Bytes of one number in the KV cache."""
    if kv_cache_dtype in {"", "auto"}:
        return model_bytes
    return (
        1 if "fp8" in kv_cache_dtype or "int8" in kv_cache_dtype else number_bytes(kv_cache_dtype)
    )


def read_precision(config: Mapping[str, Any], dtype: str, asked: str) -> Precision:
    """The precision in config.json, else the engine's argument for quantizing at load time."""
    plain = number_bytes(dtype)
    settings = config.get("quantization_config") or {}
    method = str(settings.get("quant_method") or settings.get("quant_algo") or "")
    # before what is asked: vLLM refuses another method than the checkpoint's
    if method:
        return Precision(plain, _configured_bits(settings, method), method)
    if asked:
        # 4 bits and their scales, for methods that are not listed
        return Precision(plain, _BITS.get(asked.lower(), 4.5), asked)
    return Precision(plain)


def weight_bytes(architecture: Architecture, precision: Precision) -> int:
    """Bytes of all parameters; embeddings and the head keep the model's own type."""
    if precision.bits is None:
        return architecture.parameters * precision.number_bytes
    linear = architecture.parameters - architecture.embedding_parameters
    own = architecture.embedding_parameters * precision.number_bytes
    return int(linear * precision.bits / 8) + own


def _configured_bits(settings: Mapping[str, Any], method: str) -> float:
    if "load_in_8bit" in settings or "load_in_4bit" in settings:
        return 8.0 if settings.get("load_in_8bit") else 4.5
    groups = settings.get("config_groups")
    if isinstance(groups, Mapping) and groups:
        weights = next(iter(groups.values())).get("weights") or {}
        bits = float(weights.get("num_bits") or 8)
        return bits + _scale_bits(weights.get("group_size"), bits)
    bits = float(settings.get("bits") or settings.get("w_bit") or _BITS.get(method.lower(), 8.0))
    return bits + _scale_bits(settings.get("group_size"), bits)


def _scale_bits(group: object, bits: float) -> float:
    """A 16-bit scale and a zero point per group; per-channel scales do not count."""
    # -1 means one group per channel
    if not isinstance(group, int) or group <= 0 or bits > 8:
        return 0.0
    return (16 + bits) / group
