"""Checks of software: Python, its shared library for Triton's stub, Docker, the gateway's port."""

from collections.abc import Iterator

from toolkit.doctor.finding import Finding, ok, problem, warning
from toolkit.machine import Probe

PYTHON = (3, 11)
_LIBRARY = f"libpython{PYTHON[0]}.{PYTHON[1]}.so.1.0"


def python(probe: Probe) -> Iterator[Finding]:
    """The locks, and the stub of the embedded Triton, are for one minor version."""
    said = "Python " + ".".join(map(str, probe.python))
    if probe.python[:2] != PYTHON:
        yield problem(
            "python",
            f"{said}: locks and Triton's stub are for 3.11",
            "install Python 3.11 (Debian 12: python3, Ubuntu: ppa:deadsnakes, anywhere: uv python "
            "install 3.11), and install the toolkit with it",
        )
        return
    yield ok("python", said)


def stub_library(probe: Probe, target: str) -> Iterator[Finding]:
    """Triton's Python stub loads libpython as a shared library."""
    if target != "embedded" or probe.system != "Linux":
        return
    found = probe.library(_LIBRARY)
    if found is None:
        yield problem(
            "libpython",
            f"{_LIBRARY} is not on this machine, and Triton's Python backend loads it",
            "Debian, Ubuntu: apt-get install libpython3.11; Fedora: dnf install python3.11-libs; "
            "pyenv: build Python with --enable-shared",
        )
    else:
        yield ok("libpython", found)


def docker(probe: Probe, target: str) -> Iterator[Finding]:
    """Only the container target needs an engine."""
    ran = probe.run("docker", "version", "--format", "{{.Server.Version}}")
    podman = probe.run("podman", "--version") if ran is None else None
    if ran is not None and ran.code == 0:
        yield ok("docker", f"Docker Engine {ran.output.strip()}")
    elif podman is not None and podman.code == 0:
        yield ok("docker", f"no Docker, but {podman.output.strip()}")
    elif target == "embedded":
        reason = "Docker's engine does not answer" if ran else "no Docker"
        yield ok("docker", f"{reason}; the embedded target needs none")
    elif ran is None:
        yield problem(
            "docker",
            "no Docker, and the container target runs in it",
            "install Docker Engine (docs.docker.com/engine/install), or use --target embedded",
        )
    else:
        last = ran.output.strip().splitlines()[-1:] or ["no reason given"]
        yield problem(
            "docker",
            f"Docker's engine does not answer: {last[0]}",
            "start it (systemctl start docker), and add yourself to the group docker",
        )


def port(probe: Probe, address: str, number: int) -> Iterator[Finding]:
    """Where the gateway is going to listen."""
    where = f"{address}:{number}"
    if (reason := probe.refusal(address, number)) is None:
        yield ok("port", f"{where} is free")
        return
    yield warning(
        "port",
        f"{where} cannot be listened on: {reason}",
        "toolkit serve --port N takes another one; `ss -ltnp` shows who has this one",
    )
