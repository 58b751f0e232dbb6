"""Checks of software: Python, its shared library for Triton's stub, Docker, the gateway's port."""

from collections.abc import Iterator

from toolkit.doctor.finding import error, ok, warning
from toolkit.finding import Finding
from toolkit.machine import Machine

PYTHON = (3, 11)
_LIBRARY = f"libpython{PYTHON[0]}.{PYTHON[1]}.so.1.0"


def python(machine: Machine) -> Iterator[Finding]:
    """The lock files and the stub of the embedded Triton need one minor version."""
    text = "Python " + ".".join(map(str, machine.python))
    if machine.python[:2] != PYTHON:
        yield error(
            "python",
            f"{text}: the lock files and Triton's stub need 3.11",
            "install Python 3.11 (Debian 12: python3, Ubuntu: ppa:deadsnakes, anywhere: uv python "
            "install 3.11) and install the toolkit with it",
        )
        return
    yield ok("python", text)


def stub_library(machine: Machine, target: str) -> Iterator[Finding]:
    """Triton's Python stub needs libpython as a shared library."""
    # images bring their own
    if target != "embedded" or machine.system != "Linux":
        return
    path = machine.library(_LIBRARY)
    if path is None:
        yield error(
            "libpython",
            f"{_LIBRARY} is missing; Triton's Python backend needs it",
            "Debian, Ubuntu: apt-get install libpython3.11; Fedora: dnf install python3.11-libs; "
            "pyenv: build Python with --enable-shared",
        )
    else:
        yield ok("libpython", path)


def docker(machine: Machine, target: str) -> Iterator[Finding]:
    """Docker or Podman; only container targets need one."""
    ran = machine.run("docker", "version", "--format", "{{.Server.Version}}")
    podman = machine.run("podman", "--version") if ran is None else None
    if ran is not None and ran.code == 0:
        yield ok("docker", f"Docker Engine {ran.output.strip()}")
    elif podman is not None and podman.code == 0:
        yield ok("docker", f"no Docker; found {podman.output.strip()}")
    elif target == "embedded":
        reason = "Docker does not respond" if ran else "no Docker"
        yield ok("docker", f"{reason}; the embedded target does not need it")
    elif ran is None:
        yield error(
            "docker",
            "Docker is not installed; container targets need it",
            "install Docker Engine (docs.docker.com/engine/install), or use --target embedded",
        )
    else:
        # Docker prints its client's version first, the error last
        last = ran.output.strip().splitlines()[-1:] or ["no reason given"]
        yield error(
            "docker",
            f"Docker does not respond: {last[0]}",
            "start it (systemctl start docker) and add yourself to the group docker",
        )


def port(machine: Machine, address: str, number: int) -> Iterator[Finding]:
    """Whether the gateway's port is free."""
    where = f"{address}:{number}"
    if (reason := machine.refusal(address, number)) is None:
        yield ok("port", f"{where} is free")
        return
    # a warning: the port may be that of the service that already runs
    yield warning(
        "port",
        f"cannot listen on {where}: {reason}",
        "choose another port with toolkit serve --port N; `ss -ltnp` shows who uses this one",
    )
