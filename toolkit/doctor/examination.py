"""Puts every check to one machine, in the order in which people read the findings."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.doctor import accelerators, host, software
from toolkit.doctor.finding import Finding
from toolkit.home import home
from toolkit.machine import Probe


@dataclass(frozen=True, slots=True)
class Request:
    """What is going to run: the `target`, the gateway's address, and where things are kept."""

    target: str = "embedded"
    address: str = "127.0.0.1"
    port: int = 9000
    home: Path = Path()
    repository: Path = Path("model_repository")

    @staticmethod
    def here(**chosen: str | int | Path) -> "Request":
        """A request for this user's toolkit home."""
        return Request(home=home(), **chosen)  # type: ignore[arg-type]


def examine(probe: Probe, request: Request) -> list[Finding]:
    """All findings about the machine behind `probe`; never raises for what it finds."""
    return [
        *host.platform(probe, request.target),
        *host.processor(probe),
        *host.memory(probe),
        *host.shared_memory(probe),
        *host.disks(probe, request.home, request.repository),
        *accelerators.cuda(probe, request.target),
        *accelerators.rocm(probe),
        *accelerators.metal(probe),
        *software.python(probe),
        *software.stub_library(probe, request.target),
        *software.docker(probe, request.target),
        *software.port(probe, request.address, request.port),
    ]
