"""Reads the sizes of a language model from its config.json: layers, heads, windows, latents.

Supports grouped-query and multi-query attention, sliding windows, multi-head latent attention
(MLA), mixtures of experts, and layers without a cache. Pure: it does not read files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.errors import SourceError
from toolkit.fit.experts import expert_parameters

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """The cache of one layer: `numbers` for each token, or for the last `window` tokens if given.

    `shared`: every tensor-parallel rank keeps all of it (MLA's latent cannot be split by heads).
    """

    numbers: int
    window: int | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """`embedding_parameters` stay in the model's own type when the rest is quantized."""

    name: str
    hidden: int
    heads: int
    kv_heads: int
    widest: int
    vocabulary: int
    context_length: int
    dtype: str
    layers: tuple[Layer, ...]
    parameters: int
    embedding_parameters: int
    attention: str

    @property
    def numbers_per_token(self) -> int:
        """Numbers that all layers keep of one token while no window is full."""
        return sum(layer.numbers for layer in self.layers)


def read_architecture(config: Config, name: str = "the model") -> Architecture:
    """Reads config.json. Raises SourceError that names a missing field."""
    # models with images keep the language model's numbers in a table of their own
    text: Config = config.get("text_config") or config
    hidden = _need(text, name, "hidden_size", "n_embd", "d_model")
    heads = _need(text, name, "num_attention_heads", "n_head", "num_heads")
    count = _need(text, name, "num_hidden_layers", "n_layer", "num_layers", "n_layers")
    vocabulary = _need(text, name, "vocab_size", "n_vocab")
    kv_heads = _kv_heads(text, heads)
    size = _any(text, "head_dim", "attention_head_size") or hidden // heads
    latent = _any(text, "kv_lora_rank")
    # MLA keeps one latent and the rotated part of a key; others keys and values of each head
    kept = latent + int(text.get("qk_rope_head_dim", 0)) if latent else 2 * kv_heads * size
    windows = _windows(text, count)
    layers = tuple(
        Layer(0) if window == 0 else Layer(kept, window, shared=bool(latent)) for window in windows
    )
    tied = bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", _tied(text))))
    # two matrices unless the head shares the embedding's
    embedding = vocabulary * hidden * (1 if tied else 2)
    body = sum(
        _attention(text, hidden, heads, kv_heads, size) + expert_parameters(text, hidden, index)
        for index in range(count)
    )
    return Architecture(
        name=name,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        widest=_intermediate(text, hidden),
        vocabulary=vocabulary,
        context_length=_any(text, *_LENGTHS) or 2048,
        dtype=str(config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or "")
        or str(text.get("torch_dtype") or "bfloat16"),
        layers=layers,
        # norms: two in each layer, one at the end
        parameters=embedding + body + (2 * count + 1) * hidden,
        embedding_parameters=embedding,
        attention=_attention_name(layers, heads, kv_heads, bool(latent)),
    )


_LENGTHS = ("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length", "n_ctx")


def _any(config: Config, *names: str) -> int:
    for name in names:
        if isinstance(value := config.get(name), int) and not isinstance(value, bool):
            return value
    return 0


def _need(config: Config, model: str, *names: str) -> int:
    if value := _any(config, *names):
        return value
    raise SourceError(
        f"config.json of {model} does not contain {names[0]}, which determines its size",
        hint="check that it is the config.json of a language model",
    )


def _kv_heads(config: Config, heads: int) -> int:
    # Falcon's first generation; the second one says how many it has
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1
    return _any(config, "num_key_value_heads", "num_kv_heads", "n_head_kv") or heads


def _tied(config: Config) -> bool:
    """The default of transformers for configs that do not say it."""
    return str(config.get("model_type", "")).startswith(("gpt2", "gemma", "opt", "bloom"))


def _intermediate(config: Config, hidden: int) -> int:
    return _any(config, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size") or 4 * hidden


def _windows(config: Config, count: int) -> list[int | None]:
    """Per layer: the window in tokens, None for all tokens, 0 for a layer without a cache."""
    window = _any(config, "sliding_window", "attention_chunk_size") or None
    if types := config.get("layer_types"):
        return [_window_of(str(kind), window) for kind in types[:count]]
    # Qwen3-Next: the layers between are linear attention, which keeps no cache per token
    if every := _any(config, "full_attention_interval"):
        return [None if (index + 1) % every == 0 else 0 for index in range(count)]
    # Jamba: the other layers are Mamba
    if period := _any(config, "attn_layer_period"):
        offset = _any(config, "attn_layer_offset")
        return [None if index % period == offset else 0 for index in range(count)]
    # Qwen2 names a window in every config and switches it off
    if window is None or config.get("use_sliding_window") is False:
        return [None] * count
    # its config does not have a pattern: every other layer has the window
    if str(config.get("model_type")) == "gemma2":
        return [window if index % 2 == 0 else None for index in range(count)]
    if pattern := _any(config, "sliding_window_pattern", "_sliding_window_pattern"):
        return [None if (index + 1) % pattern == 0 else window for index in range(count)]
    full = _any(config, "max_window_layers") if config.get("use_sliding_window") else 0
    return [None if index < full else window for index in range(count)]


def _window_of(kind: str, window: int | None) -> int | None:
    if "full" in kind or kind == "attention":
        return None
    return window if ("sliding" in kind or "chunked" in kind) else 0


def _attention(config: Config, hidden: int, heads: int, kv_heads: int, size: int) -> int:
    """Parameters of one layer's projections."""
    if latent := _any(config, "kv_lora_rank"):
        rope, flat = _any(config, "qk_rope_head_dim"), _any(config, "qk_nope_head_dim")
        value = _any(config, "v_head_dim")
        rank = _any(config, "q_lora_rank")
        width = heads * (flat + rope)
        query = hidden * rank + rank * width if rank else hidden * width
        return (
            query
            + hidden * (latent + rope)
            + latent * heads * (flat + value)
            + heads * value * hidden
        )
    bias = size * (heads + 2 * kv_heads) if _has_bias(config) else 0
    return 2 * hidden * size * (heads + kv_heads) + bias


def _has_bias(config: Config) -> bool:
    kind = str(config.get("model_type", ""))
    return bool(config.get("attention_bias")) or kind in {"qwen2", "qwen2_moe", "gpt2", "opt"}


def _attention_name(layers: tuple[Layer, ...], heads: int, kv_heads: int, latent: bool) -> str:
    kind = "MLA" if latent else "MHA" if kv_heads == heads else "MQA" if kv_heads == 1 else "GQA"
    windowed = sum(layer.window is not None for layer in layers)
    empty = sum(layer.numbers == 0 for layer in layers)
    text = f"{kind} {heads}:{kv_heads}" if kind == "GQA" else kind
    text += f", window in {windowed} of {len(layers)} layers" if windowed else ""
    return text + (f", {empty} of {len(layers)} layers without cache" if empty else "")
