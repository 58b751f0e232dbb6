"""What all parts share: the device, the folder, the time that is left, the served repository."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import ROOT, Service, served
from toolkit.spec import load

SPEED, CHAT, VECTORS, IMAGES = "speed", "smollm2-135m-instruct", "all-minilm-l6-v2", "emoji"


@dataclass(slots=True)
class Run:
    """One run of the benchmark. `small` is the size for a machine without a GPU."""

    device: str
    small: bool
    folder: Path
    budget_s: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget_s - (time.monotonic() - self.started)

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    def toolkit(self, *arguments: str) -> str:
        """Runs one command of the toolkit; its output. Raises RuntimeError with the end of it."""
        command = [sys.executable, "-m", "toolkit", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=900
        )
        if done.returncode:
            raise RuntimeError(f"toolkit {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def build(self, name: str, models: str) -> Path:
        """A repository of these entries of a models.yaml; `name` is its folder."""
        spec = self.folder / f"{name}.yaml"
        spec.write_text(f"version: 1\nmodels:\n{models}")
        load(spec)
        self.toolkit("build-repo", str(spec), "--output", str(self.folder / name))
        return self.folder / name

    @contextmanager
    def serving(self, repository: Path) -> Iterator[Service]:
        """`toolkit serve` on the repository, on the device of this run."""
        log = self.folder / f"{repository.name}.log"
        with served(repository, log, "--device", self.device, "--strict", timeout_s=600) as service:
            yield service


def gpu_processes() -> dict[int, int]:
    """Process → MiB that it holds on any GPU; empty if `nvidia-smi` prints nothing."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.split(",") for line in done.stdout.splitlines() if "," in line]
    return {int(pid): int(used) for pid, used in rows if used.strip().isdigit()}
