"""The interface for reading a machine's properties, and its implementation for this machine.

It does not raise: what cannot be read is None. Every program that is run has a time limit.
"""

import contextlib
import glob
import os
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Ran:
    """A program's exit code, and its output on stdout and stderr together."""

    code: int
    output: str


class Machine(Protocol):
    """Any machine. `system` is the output of `uname -s`, `architecture` that of `uname -m`."""

    @property
    def system(self) -> str: ...

    @property
    def architecture(self) -> str: ...

    @property
    def python(self) -> tuple[int, int, int]: ...

    def read(self, path: str) -> str | None: ...

    def exists(self, path: str) -> bool: ...

    def matching(self, pattern: str) -> list[str]: ...

    def run(self, *argv: str) -> Ran | None:
        """Runs a program; returns None if it does not exist or does not end in time."""

    def library(self, name: str) -> str | None:
        """The path of a shared library of the base interpreter, such as libpython."""

    def disk(self, path: str) -> tuple[int, int] | None:
        """Total and free bytes of the file system that holds `path` or its nearest parent."""

    def refusal(self, host: str, port: int) -> str | None:
        """Why a server cannot listen on the address; None if it can."""

    def memory(self) -> tuple[int, int]:
        """Total and available bytes, without the limit of a container."""

    def processors(self) -> int:
        """Logical processors that this process may run on."""


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """The machine that runs this process."""

    system: str = field(default_factory=platform.system)
    architecture: str = field(default_factory=platform.machine)
    python: tuple[int, int, int] = sys.version_info[:3]

    def read(self, path: str) -> str | None:
        try:
            return Path(path).read_text(errors="replace")
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def matching(self, pattern: str) -> list[str]:
        return sorted(glob.glob(pattern))  # noqa: PTH207  patterns are absolute

    def run(self, *argv: str) -> Ran | None:
        # asked first: a missing program is usual, and a fork for it would be wasted
        if shutil.which(argv[0]) is None:
            return None
        try:
            ran = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        # nvidia-smi hangs when its driver does
        except (OSError, subprocess.TimeoutExpired):
            return None
        return Ran(ran.returncode, ran.stdout + ran.stderr)

    def library(self, name: str) -> str | None:
        return next(
            (str(each / name) for each in library_folders() if (each / name).exists()), None
        )

    def disk(self, path: str) -> tuple[int, int] | None:
        place = Path(path).absolute()
        for folder in (place, *place.parents):
            with contextlib.suppress(OSError):
                usage = shutil.disk_usage(folder)
                return usage.total, usage.free
        return None

    def refusal(self, host: str, port: int) -> str | None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as listener:
                # as servers do: an address in TIME_WAIT can be listened on
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
        return None

    def memory(self) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.total, memory.available

    def processors(self) -> int:
        # macOS does not have it
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1


def library_folders() -> list[Path]:
    """Where this interpreter's shared library may be."""
    folders = [Path(sys.base_prefix, "lib"), Path(str(sysconfig.get_config_var("LIBDIR")))]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    # Debian keeps libpython in /usr/lib/x86_64-linux-gnu
    return folders + [folder / str(multiarch) for folder in folders]
