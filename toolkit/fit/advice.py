"""Finds changes that make a model fit: another number type, a shorter context, more GPUs.

Each proposal is checked with the same arithmetic as the estimate.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from toolkit.fit.devices import Device
from toolkit.fit.engine import ENGINE_FIELD
from toolkit.fit.placement import Demand, Room, place_one
from toolkit.fit.quantization import Precision, weight_bytes

Fits = Callable[[Demand], bool]
_METHODS = (
    (8.0, "fp8", f"{ENGINE_FIELD}: {{quantization: fp8}}"),
    (4.25, "int4", "weights published in 4 bits (AWQ, GPTQ)"),
)
_PUBLISHED_8 = "weights published in 8 bits"
_LEAST_CONTEXT = 256
_MOST_DEVICES = 16


def advise(demand: Demand, fits: Fits, *, small_cache: bool = True) -> Iterator[str]:
    """Single changes that suffice; if none does, all of the small ones together.

    `small_cache`: the device can keep the KV cache in 8 bits, as GPUs can.
    """
    options = [*_quantized(demand, fits, on_load=small_cache)]
    if small_cache:
        options += _cache_type(demand, fits)
    if context := longest_context(demand, fits):
        options.append(f"context_length: {context} (it is {demand.engine.context_length})")
    if sequences := most_sequences(demand, fits):
        requests = "one request" if sequences == 1 else f"{sequences} requests"
        options.append(f"at most {requests} of full context at a time, not {demand.sequences}")
    yield from options
    if not options:
        bits, name, how = _METHODS[-1]
        # no single change suffices: the smallest weights, and what that leaves for the context
        small = _quantize(demand, bits, name)
        if (least := replace(small, sequences=1)) and (context := longest_context(least, fits)):
            yield f"{how}, with context_length: {context} and one request at a time"
        elif fits(least):
            yield f"{how}, with one request of full context at a time"


def _quantized(demand: Demand, fits: Fits, *, on_load: bool) -> Iterator[str]:
    """`on_load`: the engine can make 8 bits of what it loads, as on GPUs."""
    for bits, name, how in _METHODS:
        variant = _quantize(demand, bits, name)
        if variant.weights < demand.weights and fits(variant):
            yield how if on_load or bits < 8 else _PUBLISHED_8
            return


def _quantize(demand: Demand, bits: float, name: str) -> Demand:
    precision = Precision(demand.engine.precision.number_bytes, bits, name)
    return replace(
        demand,
        engine=replace(demand.engine, precision=precision),
        weights=min(demand.weights, weight_bytes(demand.architecture, precision)),
    )


def _cache_type(demand: Demand, fits: Fits) -> Iterator[str]:
    if demand.engine.cache_number_bytes == 1:
        return
    if fits(replace(demand, engine=replace(demand.engine, cache_number_bytes=1))):
        yield f"{ENGINE_FIELD}: {{kv_cache_dtype: fp8}}"


def longest_context(demand: Demand, fits: Fits) -> int | None:
    """The longest context below the given one that fits, in steps of 256 tokens; None if none."""

    def holds(steps: int) -> bool:
        engine = replace(demand.engine, context_length=steps * _LEAST_CONTEXT)
        return fits(replace(demand, engine=engine))

    steps = _most(holds, (demand.engine.context_length - 1) // _LEAST_CONTEXT)
    return steps * _LEAST_CONTEXT if steps else None


def most_sequences(demand: Demand, fits: Fits) -> int | None:
    """The most sequences below the given number that fit; None if not even one."""
    return _most(lambda count: fits(replace(demand, sequences=count)), demand.sequences - 1) or None


def _most(holds: Callable[[int], bool], top: int) -> int:
    """The largest number in 1..top for which the monotone `holds` is true, else 0."""
    # by halves: each try computes a whole placement
    low, high = 0, max(0, top)
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def more_devices(demand: Demand, room: Room) -> str | None:
    """How many more GPUs of the present kind suffice, with nothing else changed."""
    if not room.devices:
        return None
    kind = max(room.devices, key=lambda device: device.memory_bytes)
    for count in range(1, _MOST_DEVICES + 1):
        extra = [
            # above the numbers of real devices
            Device(10_000 + index, kind.name, kind.memory_bytes, kind.memory_bytes)
            for index in range(count)
        ]
        larger = Room.of([*room.devices, *extra])
        # devices that hold other models keep what they have given away
        larger.left |= room.left
        if placement := place_one(demand, larger):
            split = f"tensor_parallel_size: {placement.tensor_parallel}"
            if placement.pipeline_parallel > 1:
                split += f", pipeline_parallel_size: {placement.pipeline_parallel}"
            more = f"{count} more {_several(kind.name) if count > 1 else kind.name}"
            return f"{more}, with {ENGINE_FIELD}: {{{split}}}"
    return None


def _several(name: str) -> str:
    """`H100s`, `GPUs with 24GiB`."""
    kind, space, rest = name.partition(" with ")
    return f"{kind}s{space}{rest}"
