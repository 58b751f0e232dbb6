"""What would make a model fit: other numbers, a shorter context, fewer sequences, more GPUs.

Each proposal has been tried with the same arithmetic that refused the model.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from toolkit.fit.devices import Device
from toolkit.fit.engine import ENGINE_FIELD
from toolkit.fit.placement import Room, Wanted, place_one
from toolkit.fit.quantization import Precision, weight_bytes

Fits = Callable[[Wanted], bool]
_METHODS = ((8.0, "fp8"), (4.25, "w4a16"))
_LEAST_CONTEXT = 256
_MOST_DEVICES = 16


def advise(wanted: Wanted, fits: Fits, *, small_cache: bool = True) -> Iterator[str]:
    """Single changes that suffice; if none does, all of the small ones together.

    `small_cache`: the device can keep the KV cache in 8 bits, as GPUs can.
    """
    found = [*_quantized(wanted, fits)]
    if small_cache:
        found += _cache_type(wanted, fits)
    if context := longest_context(wanted, fits):
        found.append(f"context_length: {context} (it is {wanted.engine.context_length})")
    if sequences := most_sequences(wanted, fits):
        found.append(
            f"at most {sequences} requests of full context at a time, not {wanted.sequences}"
        )
    yield from found
    if not found:
        small = _quantize(wanted, *_METHODS[-1])
        if (least := replace(small, sequences=1)) and (context := longest_context(least, fits)):
            yield f"quantize: w4a16 with context_length: {context} and one request at a time"
        elif fits(least):
            yield "quantize: w4a16 with one request of full context at a time"


def _quantized(wanted: Wanted, fits: Fits) -> Iterator[str]:
    for bits, name in _METHODS:
        variant = _quantize(wanted, bits, name)
        if variant.weights < wanted.weights and fits(variant):
            yield f"quantize: {name}"
            return


def _quantize(wanted: Wanted, bits: float, name: str) -> Wanted:
    precision = Precision(wanted.engine.precision.number_bytes, bits, name)
    return replace(
        wanted,
        engine=replace(wanted.engine, precision=precision),
        weights=min(wanted.weights, weight_bytes(wanted.architecture, precision)),
    )


def _cache_type(wanted: Wanted, fits: Fits) -> Iterator[str]:
    if wanted.engine.cache_number_bytes == 1:
        return
    if fits(replace(wanted, engine=replace(wanted.engine, cache_number_bytes=1))):
        yield f"{ENGINE_FIELD}: {{kv_cache_dtype: fp8}}"


def longest_context(wanted: Wanted, fits: Fits) -> int | None:
    """The longest context below the wanted one that fits, in steps of 256 tokens; None if none."""

    def holds(steps: int) -> bool:
        engine = replace(wanted.engine, context_length=steps * _LEAST_CONTEXT)
        return fits(replace(wanted, engine=engine))

    steps = _most(holds, (wanted.engine.context_length - 1) // _LEAST_CONTEXT)
    return steps * _LEAST_CONTEXT if steps else None


def most_sequences(wanted: Wanted, fits: Fits) -> int | None:
    """The most sequences below the wanted number that fit; None if not even one."""
    return _most(lambda count: fits(replace(wanted, sequences=count)), wanted.sequences - 1) or None


def _most(holds: Callable[[int], bool], top: int) -> int:
    """The largest number in 1..top for which the monotone `holds` is true, else 0."""
    low, high = 0, max(0, top)
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def more_devices(wanted: Wanted, room: Room) -> str | None:
    """How many more GPUs of the kind that is there would do, with nothing else changed."""
    if not room.devices:
        return None
    kind = max(room.devices, key=lambda device: device.memory_bytes)
    for count in range(1, _MOST_DEVICES + 1):
        extra = [
            Device(10_000 + index, kind.name, kind.memory_bytes, kind.memory_bytes)
            for index in range(count)
        ]
        larger = Room.of([*room.devices, *extra])
        larger.left |= room.left
        if found := place_one(wanted, larger):
            split = f"tensor_parallel_size: {found.tensor_parallel}"
            if found.pipeline_parallel > 1:
                split += f", pipeline_parallel_size: {found.pipeline_parallel}"
            plural = "s" if count > 1 else ""
            return f"{count} more {kind.name}{plural}, with {ENGINE_FIELD}: {{{split}}}"
    return None
