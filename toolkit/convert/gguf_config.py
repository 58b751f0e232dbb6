"""Converts a GGUF file's metadata to the model's config, with fields that transformers ignores.

Transformers' reader skips metadata that it does not know, so a model could answer differently
without an error. Invariant: metadata that affects answers is in the config or refused by name.
"""

import math
from typing import Any

import numpy as np
from transformers import AutoConfig
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

from toolkit.convert.failures import refusing
from toolkit.convert.gguf_file import Gguf
from toolkit.convert.quiet import quiet
from toolkit.errors import ConvertError

ROPE_FACTORS = "rope_freqs.weight"
"""Llama 3.1's rescaled positions: one divisor for each frequency."""
_NUMBERS = (
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
)
_READ_HERE = {
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "vocab_size",
}
_NO_ANSWER = {
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "base_model_ep_plan",
    "base_model_pp_plan",
    "base_model_tp_plan",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "label2id",
    "max_window_layers",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "tie_word_embeddings",
    "transformers_version",
    "use_cache",
    "use_sliding_window",
}
"""Settings that decide nothing about an answer, or that other ones stand for."""
_LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
"""The values of all published Llama 3 models; the factor is in the file."""


def read_gguf_config(source: Gguf, whole: Any) -> Any:
    """transformers' config of `source`, which `whole` holds as one file. Raises ConvertError if the
    metadata cannot be read, or has keys that would be lost."""
    name = source.file.name
    # before transformers, which fails on these without naming the key
    _check_numbers(source)
    with refusing(f"{name}: its metadata cannot be read as a config"), quiet():
        config = AutoConfig.from_pretrained(whole.parent, gguf_file=whole.name)
    mapping: Any = GGUF_CONFIG_MAPPING
    known = set(mapping.get(config.model_type.removesuffix("_text"), {})) | _READ_HERE
    prefix = f"{source.architecture}."
    unread = [
        f"{key} ({str(value)[:60]})"
        for key, value in source.metadata.items()
        if key.startswith(prefix) and key.removeprefix(prefix) not in known
    ]
    if unread:
        raise ConvertError(
            f"{name} says {', '.join(sorted(unread))}, which the toolkit cannot read",
            hint="name the original safetensors directory as `source`",
        )
    config.max_position_embeddings = source.own("context_length")
    if config.pad_token_id is not None and config.pad_token_id >= config.vocab_size:
        config.pad_token_id = None  # a class's default, of a larger vocabulary
    _set_attention(config, source)
    _set_rotary(config, source)
    for key, field in (
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
        ("expert_feed_forward_length", "moe_intermediate_size"),
        ("expert_shared_feed_forward_length", "shared_expert_intermediate_size"),
    ):
        if (value := source.own(key)) is not None:
            _set(config, field, value, f"{prefix}{key} of {name}")
    return config


def refuse_settings(name: str, expected: Any, actual: Any, architecture: str) -> None:
    """Raises ConvertError for settings that a GGUF file cannot represent."""
    lost = []
    default = type(expected)().to_dict()
    ours, theirs = _effective(expected), _effective(actual)
    for field in sorted(default.keys() - _NO_ANSWER):
        value, other = ours.get(field), theirs.get(field)
        # None, False and 0 all mean that a setting is off
        if value != other and (value or other):
            lost.append(f"{field} ({str(value)[:60]})")
    if lost:
        raise ConvertError(
            f"config.json of {name} says {', '.join(lost)}, which GGUF's {architecture} cannot "
            "store",
            hint="serve the safetensors with vLLM",
        )


def _effective(config: Any) -> dict[str, Any]:
    """Settings in one way of writing them: None for those that have no effect."""
    values = dict(config.to_dict())
    values["head_dim"] = values.get("head_dim") or config.hidden_size // config.num_attention_heads
    window = values.get("sliding_window")
    # no token is outside such a window
    if window is not None and window >= config.max_position_embeddings:
        values["sliding_window"] = None
    rope = values.get("rope_parameters") or {}
    rope = {"rope_type": "default", "rope_theta": 10000.0} | rope
    values["rope_parameters"] = {k: _single(v) for k, v in rope.items() if v is not None}
    return {key: _single(value) for key, value in values.items()}


def _single(value: Any) -> Any:
    """Numbers in the format's precision, which is single."""
    whole = isinstance(value, bool) or not isinstance(value, int | float)
    return value if whole else float(np.float32(value))


def _check_numbers(source: Gguf) -> None:
    for key in _NUMBERS:
        value = source.own(key)
        if value is None and key.endswith(("head_count_kv", "feed_forward_length")):
            continue
        if not isinstance(value, int) or value < 1:
            raise ConvertError(
                f"{source.file.name}: {source.architecture}.{key} is {str(value)[:60]}, "
                "not one number above 0",
                hint="models whose layers differ in size cannot be read from GGUF",
            )


def _set(config: Any, field: str, value: Any, what: str) -> None:
    if not hasattr(config, field):
        raise ConvertError(
            f"{what} is {value}, which {config.model_type} does not support",
            hint="name the original safetensors directory as `source`",
        )
    setattr(config, field, value)


def _set_attention(config: Any, source: Gguf) -> None:
    """Sizes of heads, biases and windows; a setting that the file lacks is off in llama.cpp."""
    name = source.file.name
    heads = source.own("attention.head_count")
    size = source.own("attention.key_length") or source.own("embedding_length") // heads
    if source.own("attention.value_length", size) != size:
        raise ConvertError(f"{name}: keys and values of different lengths cannot be read")
    if hasattr(config, "head_dim"):
        config.head_dim = size
    elif size * heads != source.own("embedding_length"):
        raise ConvertError(f"{name}: {config.model_type} has no heads of {size} numbers")
    if hasattr(config, "num_key_value_heads"):
        config.num_key_value_heads = source.own("attention.head_count_kv") or heads
    elif source.own("attention.head_count_kv", heads) != heads:
        raise ConvertError(f"{name}: {config.model_type} has no grouped queries")
    biases = {each for each in source.tensors if each.endswith(".bias")}
    for field, part in (("attention_bias", "attn_q.bias"), ("mlp_bias", "ffn_up.bias")):
        if hasattr(config, field):
            setattr(config, field, any(each.endswith(part) for each in biases))
    if (window := source.own("attention.sliding_window")) is not None:
        _set(config, "sliding_window", window, f"the sliding window of {name}")
    elif getattr(config, "sliding_window", None):  # a class's default
        config.sliding_window = None
        if getattr(config, "layer_types", None):
            config.layer_types = ["full_attention"] * config.num_hidden_layers
    if config.model_type in {"gemma2", "gemma3_text"}:
        # as llama.cpp computes it; the largest of each family divides by the heads instead
        largest = config.num_hidden_layers == (46 if config.model_type == "gemma2" else 62)
        config.query_pre_attn_scalar = config.hidden_size // heads if largest else size


def _set_rotary(config: Any, source: Gguf) -> None:
    if source.architecture == "gpt2":
        return
    kind = source.own("rope.scaling.type", "none")
    factor = source.own("rope.scaling.factor", 1.0)
    theta = float(source.own("rope.freq_base", 10000.0))
    if config.model_type == "gemma3_text":
        _set_gemma3_rotary(config, theta, kind, factor)
        return
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    rope |= _turned_part(config, source)
    # asked first: such files need not name a kind of scaling
    if ROPE_FACTORS in source.tensors:
        rope |= _llama3(source, theta)
    elif kind == "linear":
        rope |= {"rope_type": "linear", "factor": float(factor)}
    elif kind != "none":
        raise ConvertError(f"{source.file.name}: positions rescaled by '{kind}' cannot be read")
    config.rope_parameters = rope


def _turned_part(config: Any, source: Gguf) -> dict[str, float]:
    """The share of a head's numbers that is turned by position, for models that have one."""
    heads = source.own("attention.head_count")
    size = source.own("attention.key_length") or source.own("embedding_length") // heads
    turned = source.own("rope.dimension_count", size)
    if "partial_rotary_factor" in (config.rope_parameters or {}):
        return {"partial_rotary_factor": turned / size}
    if turned != size:
        raise ConvertError(
            f"{source.file.name} applies rotary positions to {turned} of {size} numbers of a head, "
            f"which {config.model_type} does not support",
            hint="name the original safetensors directory as `source`",
        )
    return {}


def _set_gemma3_rotary(config: Any, theta: float, kind: str, factor: float) -> None:
    if kind not in {"none", "linear"}:
        raise ConvertError(f"positions rescaled by '{kind}' cannot be read")
    scaled = {"rope_type": "linear", "factor": float(factor)} if kind == "linear" else {}
    config.rope_parameters = {
        "full_attention": {"rope_type": "default", "rope_theta": theta} | scaled,
        # llama.cpp has this number in its code: the file holds the full layers' base only
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }


def _llama3(source: Gguf, theta: float) -> dict[str, Any]:
    """The rope settings that give the divisors in the file. Raises ConvertError for others."""
    factors = source.values(ROPE_FACTORS).ravel()
    # the slowest frequencies are divided by the whole factor
    factor = float(np.max(factors))
    lengths = 2 * math.pi * theta ** (np.arange(len(factors)) / len(factors))
    original, low, high = 8192.0, _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    smooth = np.clip((original / lengths - low) / (high - low), 0.0, 1.0)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if not np.allclose(factors, expected, rtol=1e-3):
        raise ConvertError(
            f"{source.file.name}: its {ROPE_FACTORS} is not Llama 3's rescaling, and other ones "
            "cannot be read",
            hint="name the original safetensors directory as `source`",
        )
    return {"rope_type": "llama3", "rope_theta": theta, "factor": factor} | _LLAMA3
