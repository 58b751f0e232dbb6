"""Parameters of one layer's feed-forward part: gated or plain, dense or a mixture of experts."""

from collections.abc import Mapping
from typing import Any

_PLAIN = frozenset(
    {"gpt2", "opt", "gpt_neox", "gptj", "phi", "falcon", "starcoder2", "bloom", "mpt", "bert"}
)
"""Model types whose feed-forward part is two matrices; in all others a third one gates."""


def has_gate(config: Mapping[str, Any]) -> bool:
    """Whether the feed-forward part has three matrices."""
    return str(config.get("model_type", "")) not in _PLAIN


def expert_parameters(config: Mapping[str, Any], hidden: int, layer: int) -> int:
    """All experts count: each is in memory, however few of them a token meets."""
    matrices = 3 if has_gate(config) else 2
    wide = _first(config, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
    wide = wide or 4 * hidden
    count = _first(config, "num_local_experts", "num_experts", "n_routed_experts")
    if not count or not _is_sparse(config, layer):
        return matrices * hidden * wide
    each = _first(config, "moe_intermediate_size", "expert_intermediate_size") or wide
    shared = _first(config, "shared_expert_intermediate_size", "shared_intermediate_size")
    shared = shared or _first(config, "n_shared_experts") * each
    # the last term is the router
    return matrices * hidden * (count * each + shared) + hidden * count


def _is_sparse(config: Mapping[str, Any], layer: int) -> bool:
    # DeepSeek's first layers are dense
    if layer < _first(config, "first_k_dense_replace"):
        return False
    if layer in (config.get("mlp_only_layers") or ()):
        return False
    every = _first(config, "decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step")
    return every <= 1 or (layer + 1) % every == 0


def _first(config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(value := config.get(name), int) and not isinstance(value, bool):
            return value
    return 0
