"""The GPUs that models are placed on: found on this machine, or described as `h100:2,l4:4`."""

import re
from dataclasses import dataclass

from toolkit.errors import UsageError
from toolkit.machine import Gpu
from toolkit.names import close_matches

GIB = 2**30
KNOWN_GIB = {
    "t4": 15,
    "a10": 22,
    "a10g": 22,
    "a16": 15,
    "a30": 24,
    "a40": 45,
    "a100-40gb": 40,
    "a100-80gb": 80,
    "a100": 80,
    "a6000": 48,
    "l4": 22,
    "l40": 45,
    "l40s": 45,
    "h100": 80,
    "h100-nvl": 94,
    "h200": 140,
    "h20": 96,
    "gh200": 96,
    "b200": 180,
    "gb200": 186,
    "b300": 270,
    "rtx3090": 24,
    "rtx4090": 24,
    "rtx5090": 32,
    "rtx6000-ada": 48,
    "rtx-pro-6000": 96,
}
"""What a program can allocate, in GiB; a little below what the name says where ECC takes some."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(gib|gb|g|mib|mb|m)?", re.IGNORECASE)
_UNITS = {"g": GIB, "gib": GIB, "gb": 10**9, "m": 2**20, "mib": 2**20, "mb": 10**6}


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU and what may be taken of it."""

    index: int
    name: str
    memory_bytes: int
    free_bytes: int


def devices_of(gpus: list[Gpu]) -> list[Device]:
    """The CUDA devices among those found: the only ones that Triton's containers use."""
    return [
        Device(gpu.index, gpu.name, gpu.memory_bytes, gpu.free_bytes)
        for gpu in gpus
        if gpu.platform == "cuda"
    ]


def parse_gpus(text: str) -> list[Device]:
    """Reads `NAME[:COUNT]` or `SIZE[:COUNT]`, several separated by commas. Raises UsageError for
    any other text.

    `0` and `none` describe a machine without GPUs.
    """
    devices: list[Device] = []
    if text.strip().lower() in {"0", "none"}:
        return devices
    for part in text.split(","):
        name, _, count = part.strip().partition(":")
        # at most 1024: a placement tries every number of devices
        if not (count or "1").isdigit() or int(count or 1) not in range(1, 1025):
            raise UsageError(
                f"'{part.strip()}' does not name a number of GPUs", hint="write it as h100:2"
            )
        memory = _memory(name)
        label = name.upper() if name.lower() in KNOWN_GIB else f"GPU with {name}"
        devices += [
            Device(len(devices) + index, label, memory, memory) for index in range(int(count or 1))
        ]
    return devices


def _memory(name: str) -> int:
    if size := KNOWN_GIB.get(name.lower()):
        return size * GIB
    try:
        return parse_size(name)
    except UsageError as error:
        near = close_matches(name.lower(), KNOWN_GIB)
        listed = f"did you mean {near[0]}? Or" if near else f"one of {', '.join(KNOWN_GIB)}; or"
        raise UsageError(
            f"the GPU '{name}' is not known", hint=f"{listed} write its memory, as in 24GiB:2"
        ) from error


def parse_size(text: str) -> int:
    """`64GiB`, `64G` or `512MB` → bytes. Raises UsageError, also for a number without a unit: `64`
    is a slip more often than 64 bytes."""
    match = _SIZE.fullmatch(text.strip())
    if not match or not match[2] or float(match[1]) <= 0:
        raise UsageError(f"'{text}' is not a valid size", hint="write it as 64GiB or 512MiB")
    # GB is decimal and GiB binary; a bare G counts as GiB
    return int(float(match[1]) * _UNITS[match[2].lower()])
