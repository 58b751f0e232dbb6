"""Checks whether the embedded server can use this machine's NVIDIA GPUs, and if not, why.

The CUDA environments are built for CUDA 13, and vLLM compiles small C programs when it starts. It
does not know which models there are.
"""

import os
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.machine.gpus import Gpu, list_gpus
from toolkit.machine.local import Machine

OLDEST_DRIVER = 580
"""The oldest driver that CUDA 13 supports."""
OLDEST_CAPABILITY = (7, 5)
"""The oldest that CUDA 13 supports: Turing."""
COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True, slots=True)
class Cuda:
    """`gpus` that models may be placed on; if empty, the reason and the fix."""

    gpus: tuple[Gpu, ...]
    reason: str = ""
    fix: str = ""


def usable_cuda(machine: Machine, environment: Mapping[str, str] = os.environ) -> Cuda:
    """The GPUs that `nvidia-smi` shows and CUDA_VISIBLE_DEVICES allows, if nothing is missing."""
    gpus = [gpu for gpu in list_gpus(machine) if gpu.platform == "cuda"]
    if not gpus:
        return Cuda(
            (), "nvidia-smi does not list a GPU", "install the NVIDIA driver; see toolkit doctor"
        )
    allowed = environment.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        # UUIDs are valid for CUDA, too, but placements are written by index
        names = {name.strip() for name in allowed.split(",")}
        gpus = [gpu for gpu in gpus if str(gpu.index) in names]
        if not gpus:
            return Cuda(
                (), f"CUDA_VISIBLE_DEVICES is '{allowed}'", "list GPUs by their index, or unset it"
            )
    # the first one: the others may not matter once it is fixed
    for reason, fix in _obstacles(machine, gpus):
        return Cuda((), reason, fix)
    return Cuda(tuple(gpu for gpu in gpus if _is_new_enough(gpu)))


def _obstacles(machine: Machine, gpus: list[Gpu]) -> Iterator[tuple[str, str]]:
    driver = gpus[0].driver or ""
    major = driver.partition(".")[0]
    # an unreadable version is not held against the driver
    if major.isdigit() and int(major) < OLDEST_DRIVER:
        yield (
            f"driver {driver} is older than {OLDEST_DRIVER}, which CUDA 13 needs",
            f"install NVIDIA driver {OLDEST_DRIVER} or newer",
        )
    if not any(map(_is_new_enough, gpus)):
        yield f"{gpus[0].name} is too old for CUDA 13", "use a GPU of Turing or newer"
    if not any(machine.run(name, "--version") for name in COMPILERS):
        yield (
            "there is no C compiler, and vLLM compiles kernels when it starts",
            "install one (Debian, Ubuntu: apt-get install gcc libc6-dev)",
        )
    header = str(Path(sysconfig.get_path("include"), "Python.h"))
    if not machine.exists(header):
        yield (
            f"{header} is missing, and vLLM compiles kernels against it when it starts",
            "install Python's headers (Debian, Ubuntu: apt-get install python3.11-dev)",
        )


def _is_new_enough(gpu: Gpu) -> bool:
    return gpu.capability is None or gpu.capability >= OLDEST_CAPABILITY
