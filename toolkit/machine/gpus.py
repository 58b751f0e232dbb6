"""The accelerators of a machine, from the drivers' tools and the kernel.

NVIDIA through nvidia-smi, AMD through the kernel's kfd topology, Apple through sysctl. Devices
without a working driver are left out; `toolkit.doctor` reports those.
"""

import re
from dataclasses import dataclass

from toolkit.machine.local import Machine

_QUERY = "index,name,memory.total,memory.free,compute_cap,driver_version"
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Gpu:
    """`platform` is cuda, rocm or metal; `capability` is CUDA's, as (major, minor)."""

    index: int
    name: str
    platform: str
    memory_bytes: int
    free_bytes: int
    capability: tuple[int, int] | None = None
    driver: str | None = None


def list_gpus(machine: Machine) -> list[Gpu]:
    """All devices with a working driver."""
    return [*_nvidia(machine), *_amd(machine), *_apple(machine)]


def _nvidia(machine: Machine) -> list[Gpu]:
    ran = machine.run("nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits")
    if ran is None or ran.code:
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in ran.output.splitlines()]
    # errors of single GPUs are lines of text among the rows
    return [_nvidia_gpu(row) for row in rows if len(row) == 6 and row[0].isdigit()]


def _nvidia_gpu(row: list[str]) -> Gpu:
    index, name, total, free, capability, driver = row
    return Gpu(
        index=int(index),
        name=name,
        platform="cuda",
        memory_bytes=_mib(total),
        free_bytes=_mib(free),
        capability=_version(capability),
        driver=driver,
    )


def _mib(text: str) -> int:
    """0 for devices that share the host's memory: nvidia-smi prints `[N/A]`."""
    return int(text) * _MIB if text.isdigit() else 0


def _version(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _amd(machine: Machine) -> list[Gpu]:
    """Cards of the amdgpu driver, where the compute driver (kfd) is there too."""
    # without it the card only draws: ROCm cannot compute on it
    if not machine.exists("/dev/kfd"):
        return []
    cards: list[Gpu] = []
    for path in machine.matching("/sys/class/drm/card[0-9]*/device/mem_info_vram_total"):
        folder = path.rpartition("/")[0]
        total = int((machine.read(path) or "0").strip())
        used = int((machine.read(f"{folder}/mem_info_vram_used") or "0").strip())
        name = (machine.read(f"{folder}/product_name") or "").strip() or "AMD GPU"
        cards.append(Gpu(len(cards), name, "rocm", total, total - used))
    return cards


def _apple(machine: Machine) -> list[Gpu]:
    if machine.system != "Darwin" or machine.architecture != "arm64":
        return []
    ran = machine.run("sysctl", "-n", "machdep.cpu.brand_string")
    # Apple's GPUs share the memory of the host
    total, free = machine.memory()
    return [Gpu(0, ran.output.strip() if ran else "Apple GPU", "metal", total, free)]
