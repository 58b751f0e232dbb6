"""Runs all checks of one machine, in the order of the report."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.doctor import accelerators, host, software
from toolkit.finding import Finding
from toolkit.home import home
from toolkit.machine import Probe


@dataclass(frozen=True, slots=True)
class Setup:
    """What is to be served: the `target`, the gateway's address, and the folders."""

    target: str = "embedded"
    address: str = "127.0.0.1"
    port: int = 9000
    home: Path = Path()
    repository: Path = Path("model_repository")

    @staticmethod
    def here(**chosen: str | int | Path) -> "Setup":
        """A setup with this user's toolkit home."""
        return Setup(home=home(), **chosen)  # type: ignore[arg-type]


def check(probe: Probe, setup: Setup) -> list[Finding]:
    """All findings about the machine that `probe` reads."""
    return [
        *host.platform(probe, setup.target),
        *host.processor(probe),
        *host.memory(probe),
        *host.shared_memory(probe),
        *host.disks(probe, setup.home, setup.repository),
        *accelerators.cuda(probe, setup.target),
        *accelerators.rocm(probe),
        *accelerators.metal(probe),
        *software.python(probe),
        *software.stub_library(probe, setup.target),
        *software.docker(probe, setup.target),
        *software.port(probe, setup.address, setup.port),
    ]
