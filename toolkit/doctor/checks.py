"""Runs all checks of one machine, in the order of the report."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.doctor import accelerators, host, software
from toolkit.finding import Finding
from toolkit.home import home
from toolkit.machine import Machine


@dataclass(frozen=True, slots=True)
class Setup:
    """What to check for: the `target`, the gateway's address, and the folders."""

    target: str = "embedded"
    address: str = "127.0.0.1"
    port: int = 9000
    home: Path = Path()
    repository: Path = Path("model_repository")

    @staticmethod
    def here(**chosen: str | int | Path) -> "Setup":
        """A setup with this user's toolkit home."""
        return Setup(home=home(), **chosen)  # type: ignore[arg-type]


def check(machine: Machine, setup: Setup) -> list[Finding]:
    """All findings about the machine that `machine` reads."""
    return [
        *host.platform(machine, setup.target),
        *host.processor(machine),
        *host.memory(machine),
        *host.shared_memory(machine),
        *host.disks(machine, setup.home, setup.repository),
        *accelerators.cuda(machine, setup.target),
        *accelerators.rocm(machine),
        *accelerators.metal(machine),
        *software.python(machine),
        *software.stub_library(machine, setup.target),
        *software.docker(machine, setup.target),
        *software.port(machine, setup.address, setup.port),
    ]
