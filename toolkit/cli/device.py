"""Chooses the device of `toolkit serve` (CPU or CUDA), and the GPUs of each model."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.machine import Machine

Placement = dict[str, dict[str, Any]]


class Device(StrEnum):
    """`auto` is CUDA where `nvidia-smi` shows a usable GPU, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def choose_placement(
    device: Device, repository: Path, machine: "Machine", report: Callable[[str], None]
) -> Placement | None:
    """The GPUs of each step, None for the CPU; reports why an existing GPU is not used.

    Raises UsageError when CUDA was asked for and cannot be used, RepositoryError when the
    models do not fit.
    """
    from toolkit.machine.cuda import usable_cuda
    from toolkit.machine.gpus import list_gpus

    # without any GPU nothing is reported: the CPU is what was expected
    if device is Device.CPU or (device is Device.AUTO and not list_gpus(machine)):
        return None
    cuda = usable_cuda(machine)
    if not cuda.gpus and device is Device.CUDA:
        raise UsageError(f"--device cuda cannot be used: {cuda.reason}", hint=cuda.fix)
    if not cuda.gpus:
        report(f"serving on the CPU: {cuda.reason}; to use the GPU, {cuda.fix}")
        return None
    from toolkit.fit.devices import devices_of
    from toolkit.fit.served import place_repository

    placed = place_repository(repository, devices_of(list(cuda.gpus)))
    for step, place in placed.items():
        share = place.get("engine", {}).get("gpu_memory_utilization")
        part = f", {share:.0%} of its memory" if share else ""
        report(f"{step}: GPU {', '.join(map(str, place['gpus']))}{part}")
    return placed
