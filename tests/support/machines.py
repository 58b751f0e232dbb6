"""Machines that are described instead of owned: a Machine that answers from tables."""

from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from toolkit.machine import Ran

GIB = 2**30
_MODERN = "avx avx2 avx512f avx512_bf16"


@dataclass
class FakeMachine:
    """A sound Linux machine with AVX-512 and no GPU, unless a test says otherwise."""

    system: str = "Linux"
    architecture: str = "x86_64"
    python: tuple[int, int, int] = (3, 11, 2)
    files: dict[str, str] = field(default_factory=dict)
    programs: dict[str, Ran] = field(default_factory=dict)
    disks: dict[str, tuple[int, int]] = field(default_factory=dict)
    taken: dict[int, str] = field(default_factory=dict)
    ram: tuple[int, int] = (64 * GIB, 48 * GIB)
    count: int = 8
    libpython: str | None = "/usr/lib/libpython3.11.so.1.0"

    def __post_init__(self) -> None:
        self.files = {"/proc/cpuinfo": f"flags\t: {_MODERN}\n", "/dev/shm": ""} | self.files
        self.programs = {"ldd": Ran(0, "ldd (GNU libc) 2.36\nCopyright\n")} | self.programs
        self.disks = {"/": (500 * GIB, 300 * GIB), "/dev/shm": (32 * GIB, 32 * GIB)} | self.disks

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def exists(self, path: str) -> bool:
        return path in self.files

    def matching(self, pattern: str) -> list[str]:
        return sorted(path for path in self.files if fnmatch(path, pattern))

    def run(self, *argv: str) -> Ran | None:
        """A program called with arguments of its own may have an answer of its own."""
        return self.programs.get(" ".join(argv[:2]), self.programs.get(argv[0]))

    def library(self, name: str) -> str | None:
        return self.libpython

    def disk(self, path: str) -> tuple[int, int] | None:
        for place in (Path(path), *Path(path).parents):
            if str(place) in self.disks:
                return self.disks[str(place)]
        return None

    def refusal(self, host: str, port: int) -> str | None:
        return self.taken.get(port)

    def memory(self) -> tuple[int, int]:
        return self.ram

    def processors(self) -> int:
        return self.count


def nvidia(*rows: str) -> dict[str, Ran]:
    """`nvidia-smi` that lists these GPUs, one CSV row each."""
    return {"nvidia-smi": Ran(0, "\n".join(rows) + "\n")}


H100 = "0, NVIDIA H100 80GB HBM3, 81559, 81079, 9.0, 580.65.06"
