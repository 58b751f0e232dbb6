"""Estimates which models of the catalogue fit a machine from their row only, without a download.

Counts what `toolkit serve MODEL` would start: weights, processes, a KV cache for its default
context. `toolkit fit` on a models.yaml is exact where this is an estimate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.catalogue import Available
from toolkit.fit.checkpoint import Checkpoint, Tensors
from toolkit.fit.devices import Device
from toolkit.fit.estimate import (
    ENGINE_BYTES,
    GPU_CONTEXT_BYTES,
    GPU_HOST_BYTES,
    TRITON_BYTES,
    diffusion_need,
    encoder_need,
)
from toolkit.kinds import all_kinds
from toolkit.kinds.encoding import TOKENIZE_INSTANCES
from toolkit.kinds.kind import Estimate
from toolkit.kinds.llm.engine import default_cache_bytes

_USABLE = 0.9  # of a GPU's memory
_NUMBER_BYTES = 2
_TOKEN_BUDGET = 1024
_SCALE = 8
_HEAD = 64


@dataclass(frozen=True, slots=True)
class Room:
    """The available memory: of the host, and of each GPU."""

    host_bytes: int
    devices: Sequence[Device] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`place` is `CPU`, `GPU`, `2 GPUs` or "" where it does not fit; bytes where it would run."""

    place: str
    need_bytes: int

    @property
    def fits(self) -> bool:
        return bool(self.place)


def judge(model: Available, room: Room) -> Verdict:
    """Estimates where the model fits: on GPUs if there are any, else on the CPU."""
    if room.devices:
        need = _needs(model).on_gpus(model)
        count = _gpus(need, room)
        if count and room.host_bytes >= GPU_HOST_BYTES:
            return Verdict("GPU" if count == 1 else f"{count} GPUs", need)
    # what does not fit on the GPUs may still fit on the host
    need = _needs(model).on_host(model)
    fits = need <= room.host_bytes and not model.gpu_only
    return Verdict("CPU" if fits else "", need)


def served_context(kind: str, maximum: int | None) -> int:
    """The context of a model of this kind that is served by its name."""
    default = all_kinds()[kind].default_context
    assert default is not None
    return min(maximum or default, default)


def _gpus(need: int, room: Room) -> int:
    """How many devices the need takes; 0 when all of them are too few."""
    total = 0.0
    for count, device in enumerate(sorted(room.devices, key=lambda each: -each.free_bytes), 1):
        total += device.free_bytes * _USABLE - GPU_CONTEXT_BYTES
        if need <= total and count & (count - 1) == 0:  # heads are shared by 1, 2, 4, 8 … devices
            return count
    return 0


def _needs(model: Available) -> "_Needs":
    return _NEEDS[all_kinds()[model.kind].estimate]


def _context(model: Available) -> int:
    return served_context(model.kind, model.context_length)


def _engine_on_gpus(model: Available) -> int:
    return _weights(model) + _token(model) * _context(model)


def _engine(model: Available) -> int:
    # the engine reserves for 32 bit numbers, which a CPU without AVX-512 computes with
    cache = default_cache_bytes(2 * _token(model), _context(model))
    return _weights(model) + cache + ENGINE_BYTES + TRITON_BYTES


def _encoder(model: Available) -> int:
    width = model.width or 0
    config = {"hidden_size": width, "num_attention_heads": max(1, width // _HEAD)}
    checkpoint = Checkpoint(config, {"": Tensors(model.parameters)})
    need = encoder_need(checkpoint, _context(model), _TOKEN_BUDGET, TOKENIZE_INSTANCES)
    return need.total + TRITON_BYTES


def _pipeline(model: Available) -> int:
    # the last block of a UNet is four times as wide as the first
    blocks = {"unet": {"block_out_channels": [4 * (model.width or 0)]}}
    checkpoint = Checkpoint({}, {"": Tensors(model.parameters)}, blocks)
    return diffusion_need(checkpoint, model.pixels or 0, _SCALE).total + TRITON_BYTES


@dataclass(frozen=True, slots=True)
class _Needs:
    """Bytes on the GPUs, and on a host without any."""

    on_gpus: Callable[[Available], int]
    on_host: Callable[[Available], int]


_NEEDS: dict[Estimate, _Needs] = {
    "engine": _Needs(_engine_on_gpus, _engine),
    "encoder": _Needs(_encoder, _encoder),
    "pipeline": _Needs(_pipeline, _pipeline),
}
"""By the estimate that a kind names."""


def _weights(model: Available) -> int:
    """A GGUF file is served as 16 bit numbers, safetensors as they are."""
    return max(model.size_bytes, model.parameters * _NUMBER_BYTES if model.in_package else 0)


def _token(model: Available) -> int:
    """Bytes of the KV cache for one token: keys and values."""
    layers, heads, size = model.cache or (0, 0, 0)
    return 2 * layers * heads * size * _NUMBER_BYTES
