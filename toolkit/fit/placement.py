"""Chooses the GPUs of each language model, and how it is split over them.

The largest model is placed first, on the fewest devices that it fits on, with the most free memory.
Models are split by tensor parallelism if the number of heads allows it, and into pipeline stages
only if that is not enough. Pure arithmetic.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from toolkit.fit.architecture import Architecture
from toolkit.fit.cache import sequences_in
from toolkit.fit.devices import Device
from toolkit.fit.engine import GPU_SHARE, Engine
from toolkit.fit.estimate import LlmNeed, llm_need


@dataclass(frozen=True, slots=True)
class Demand:
    """A language model that is to be placed; `sequences` of full context at the same time."""

    name: str
    architecture: Architecture
    engine: Engine
    weights: int
    sequences: int

    def need(self, ranks: tuple[int, int] = (1, 1), *, on_gpu: bool = True) -> LlmNeed:
        """The memory that each of `ranks` devices needs."""
        return llm_need(
            self.architecture, self.engine, self.weights, self.sequences, ranks, on_gpu=on_gpu
        )


@dataclass(frozen=True, slots=True)
class Placement:
    """`devices` by index; `share` is the `gpu_memory_utilization` to write, `cache_bytes` what the
    KV cache then gets on each device."""

    devices: tuple[int, ...]
    tensor_parallel: int
    pipeline_parallel: int
    need: LlmNeed
    share: float
    cache_bytes: int
    sequences: float


@dataclass(slots=True)
class Room:
    """The free memory of each device."""

    devices: Sequence[Device]
    left: dict[int, int]

    @classmethod
    def of(cls, devices: Sequence[Device]) -> "Room":
        """The room of devices without our models."""
        return cls(devices, {each.index: _budget(each, GPU_SHARE) for each in devices})

    def copy(self) -> "Room":
        return Room(self.devices, dict(self.left))


def place(models: Sequence[Demand], room: Room) -> dict[str, Placement | None]:
    """A placement for each model, None if it does not fit; subtracts their memory from `room`."""
    placements: dict[str, Placement | None] = {}
    # the largest first: it has the fewest places, small ones fill what is left
    for demand in sorted(models, key=lambda each: -each.need().total):
        placements[demand.name] = place_one(demand, room)
    return _with_shares(models, placements, room)


def place_one(demand: Demand, room: Room) -> Placement | None:
    """The first split of the model that fits; subtracts its memory from `room`."""
    for tensor, pipeline in splits(demand, len(room.devices)):
        need = demand.need((tensor, pipeline))
        chosen = _choose(demand, need, tensor * pipeline, room)
        if chosen:
            for device in chosen:
                room.left[device.index] -= _taken(demand, need, device)
            indices = tuple(sorted(device.index for device in chosen))
            return Placement(indices, tensor, pipeline, need, 0.0, need.cache, demand.sequences)
    return None


def splits(demand: Demand, most: int) -> Iterator[tuple[int, int]]:
    """(tensor, pipeline) parallel sizes up to `most` devices: the fewest stages, then devices, as
    every stage adds to the time of a token."""
    engine, architecture = demand.engine, demand.architecture
    # what the entry says is taken, never improved
    if engine.tensor_parallel or engine.pipeline_parallel:
        yield engine.tensor_parallel or 1, engine.pipeline_parallel or 1
        return
    tensors = [ranks for ranks in range(1, most + 1) if can_split(architecture, ranks)]
    stages = min(most, len(architecture.layers))
    for pipeline in range(1, stages + 1):
        yield from ((tensor, pipeline) for tensor in tensors if tensor * pipeline <= most)


def can_split(architecture: Architecture, ranks: int) -> bool:
    """Whether heads, and the keys and values they share, divide among `ranks`."""
    kept = architecture.kv_heads
    # vLLM splits key heads evenly, or copies each to the same number of ranks
    return architecture.heads % ranks == 0 and (kept % ranks == 0 or ranks % kept == 0)


def _choose(demand: Demand, need: LlmNeed, count: int, room: Room) -> list[Device]:
    """`count` devices of one kind with the most left, if all of them have enough."""
    # one kind: the slowest device of a group decides the time of every token
    for kind in sorted({device.name for device in room.devices}):
        same = [device for device in room.devices if device.name == kind]
        same.sort(key=lambda device: (-room.left[device.index], device.index))
        chosen = same[:count]
        if len(chosen) == count and all(
            room.left[device.index] >= _taken(demand, need, device)
            and need.total <= _budget(device, demand.engine.share or 1.0)
            for device in chosen
        ):
            return chosen
    return []


def _taken(demand: Demand, need: LlmNeed, device: Device) -> int:
    # vLLM takes its whole share at the start, used or not
    return int(device.memory_bytes * demand.engine.share) if demand.engine.share else need.total


def _budget(device: Device, share: float) -> int:
    return min(device.free_bytes, int(device.memory_bytes * share))


def _with_shares(
    models: Sequence[Demand], placements: dict[str, Placement | None], room: Room
) -> dict[str, Placement | None]:
    """A model alone on its devices gets all that vLLM takes by default, others what they need."""
    devices = {device.index: device for device in room.devices}
    users = [index for each in placements.values() if each for index in each.devices]
    result: dict[str, Placement | None] = {}
    for demand in models:
        placement = placements[demand.name]
        if placement is None:
            result[demand.name] = None
            continue
        here = [devices[index] for index in placement.devices]
        need = placement.need
        alone = all(users.count(device.index) == 1 for device in here)
        least = min(device.memory_bytes for device in here)
        share = demand.engine.share or (
            GPU_SHARE if alone else math.ceil(100 * need.total / least) / 100
        )
        room_for_cache = min(_budget(device, share) for device in here) - need.fixed
        cache = demand.engine.cache_bytes or room_for_cache
        held = sequences_in(
            demand.architecture, need.shape, demand.engine.context_length, max(0, cache)
        )
        result[demand.name] = replace(placement, share=share, cache_bytes=cache, sequences=held)
    return result
