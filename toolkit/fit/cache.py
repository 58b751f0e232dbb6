"""The size of the KV cache in vLLM's paged blocks.

A layer with a window keeps of a request what the window and one scheduling step hold, plus a block;
all others keep every token. Pure arithmetic.
"""

from dataclasses import dataclass

from toolkit.fit.architecture import Architecture, Layer


@dataclass(frozen=True, slots=True)
class CacheShape:
    """`block` tokens stand together, `step` tokens are scheduled at once; ranks share layers."""

    number_bytes: int
    block: int
    step: int
    tensor_parallel: int = 1
    pipeline_parallel: int = 1


def bytes_per_token(architecture: Architecture, shape: CacheShape) -> int:
    """Bytes of one token on one device, while no window is full."""
    return sum(_token(layer, architecture, shape) for layer in _stage(architecture, shape))


def sequence_bytes(architecture: Architecture, shape: CacheShape, tokens: int) -> int:
    """Bytes of one request of that many tokens, on one device."""
    return sum(
        _blocks(layer, shape, tokens) * shape.block * _token(layer, architecture, shape)
        for layer in _stage(architecture, shape)
    )


def sequences_in(architecture: Architecture, shape: CacheShape, tokens: int, room: int) -> float:
    """How many requests of that many tokens fit in this many bytes, as vLLM computes it."""
    one = sequence_bytes(architecture, shape, tokens)
    if not one:
        return float("inf")
    page = sum(
        shape.block * _token(layer, architecture, shape) for layer in _stage(architecture, shape)
    )
    # whole blocks only, as vLLM divides its memory
    return (room // page) * page / one if room > 0 else 0.0


def _stage(architecture: Architecture, shape: CacheShape) -> tuple[Layer, ...]:
    """The layers of one pipeline stage, the fullest one."""
    count = -(-len(architecture.layers) // shape.pipeline_parallel)
    ordered = sorted(architecture.layers, key=lambda layer: -layer.numbers)
    # which layers a stage gets is vLLM's business, so the widest are taken
    return tuple(ordered[:count]) if shape.pipeline_parallel > 1 else architecture.layers


def _token(layer: Layer, architecture: Architecture, shape: CacheShape) -> int:
    # more ranks than key heads keep copies of them
    ranks = 1 if layer.shared else min(shape.tensor_parallel, architecture.kv_heads)
    return -(-layer.numbers // ranks) * shape.number_bytes


def _blocks(layer: Layer, shape: CacheShape, tokens: int) -> int:
    if layer.window is None:
        return -(-tokens // shape.block)
    kept = min(layer.window - 1 + shape.step, tokens)
    return -(-kept // shape.block) + 1  # a window may begin inside a block
