"""Unpacks the embedded Triton server from the nvidia-pytriton wheel, without importing it.

A runtime is complete or absent: it is unpacked beside its place and renamed. It does not know
about repositories or processes.
"""

import contextlib
import os
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolkit.atomic import ensure
from toolkit.errors import SetupError
from toolkit.home import home
from toolkit.progress import Progress, silent
from toolkit.wheels import fetch_wheel

WHEEL = "nvidia-pytriton==0.7.0"
WHEEL_SHA256 = "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"
VERSION = "2.51.0"
"""What `WHEEL` holds: Triton 2.51.0, release 24.10, Python backend and local response cache."""
PYTHON = (3, 11)
"""What `locks/` was resolved for. The wheel has stubs for 3.8 to 3.13, but NumPy 1 has no 3.13."""


@dataclass(frozen=True, slots=True)
class TritonRuntime:
    """Paths of one unpacked server."""

    root: Path

    @property
    def server(self) -> Path:
        return self.root / "bin" / "tritonserver"

    @property
    def libraries(self) -> Path:
        return self.root / "lib"

    @property
    def backends(self) -> Path:
        return self.root / "backends"

    @property
    def caches(self) -> Path:
        return self.root / "caches"


def ensure_triton(progress: Progress = silent) -> TritonRuntime:
    """Returns the runtime, fetching and unpacking it the first time (55 MB download, 136 MB disk).

    Raises SetupError where the server cannot run, SourceError when it cannot be fetched.
    """
    _check_platform()
    root = home() / "triton" / f"{VERSION}-{WHEEL_SHA256[:12]}-{_python()}"

    def unpack(place: Path) -> None:
        _unpack(fetch_wheel(WHEEL, sha256=WHEEL_SHA256, progress=progress), place, progress)

    ensure(root, unpack)
    # after `ensure`, so that a runtime unpacked by an older toolkit gets the link, too
    _link_numa(root / "lib")
    return TritonRuntime(root)


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _check_platform() -> None:
    system, machine = os.uname().sysname, os.uname().machine
    if (system, machine) != ("Linux", "x86_64"):
        raise SetupError(
            f"the embedded Triton runs on Linux x86_64, and this is {system} {machine}",
            hint="build with --target container and serve with a Triton container",
        )
    if sys.version_info[:2] != PYTHON:
        raise SetupError(
            "the embedded Triton's environments are locked for Python 3.11, and this is"
            f" {_python()}",
            hint="install the toolkit with Python 3.11, or build with --target container",
        )


def _unpack(wheel: Path, root: Path, progress: Progress) -> None:
    with zipfile.ZipFile(wheel) as archive:
        members = {name: place for name in archive.namelist() if (place := _place(name))}
        title = f"unpack Triton {VERSION}"
        with progress.step(title, total=len(members), unit="files") as step:
            for name, place in members.items():
                target = root / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                # zipfile drops modes, and the stub and the server must be executable
                target.chmod(0o755)
                step.advance()
    if not (root / "backends/python/triton_python_backend_stub").exists():
        raise SetupError(
            f"the embedded Triton has no Python stub for Python {_python()}",
            hint="run the toolkit with Python 3.11",
        )


def _link_numa(folder: Path) -> None:
    """vLLM's CPU kernels want libnuma, which bare machines lack and the wheel brings renamed."""
    link = folder / "libnuma.so.1"
    if not link.is_symlink() and (libraries := sorted(folder.glob("libnuma-*"))):
        with contextlib.suppress(OSError):  # another process was first, or an image is read-only
            link.symlink_to(libraries[0].name)


def _place(name: str) -> PurePosixPath | None:
    """Where a member of the wheel goes below the runtime's root; None leaves it out."""
    path = PurePosixPath(name)
    if name.endswith("/"):
        return None
    if path.parts[0] == "nvidia_pytriton.libs":
        return PurePosixPath("lib", *path.parts[1:])
    if path.parts[:2] != ("pytriton", "tritonserver"):
        return None
    inner = PurePosixPath(*path.parts[2:])
    # pytriton's own Python is left out
    if inner.parts[0] in {"bin", "backends", "caches"}:
        return inner
    if inner.parts[:2] == ("python_backend_stubs", _python()):
        return PurePosixPath("backends", "python", inner.name)
    return None
