"""Starting and observing real processes in tests: free ports, deadlines, a served repository."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.forks import Forked
from toolkit.home import home

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A free TCP port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PATIENCE_S = 120
"""How long a test waits for what takes milliseconds on an idle machine. A busy one may need minutes
for it, and a limit that is reached shows only that."""


def wait_for(
    condition: Callable[[], object], timeout_s: float = PATIENCE_S, what: str = "it"
) -> None:
    """Polls `condition` until it is true; fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s} s"
        time.sleep(0.02)


def soon(measure: Callable[[int], float], within_s: float) -> None:
    """One of twenty tries takes less: a busy machine may hold up most of them, a fault all.

    `measure` is given the number of the try, and returns its seconds.
    """
    took_s = []
    for number in range(20):
        took_s.append(measure(number))
        if took_s[-1] < within_s:
            return
    raise AssertionError(f"no try took less than {within_s} s: {took_s}")


def status_of(url: str) -> int:
    """The HTTP status of a GET; 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def memory_peak_bytes(pid: int) -> int:
    """The most memory that a process has had so far, as Linux counts it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@dataclass
class Running:
    """A process that answers HTTP on loopback."""

    process: subprocess.Popen[bytes] | Forked
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Service(Running):
    """A running `toolkit serve`."""

    @property
    def triton_log(self) -> str:
        """What Triton and the models in it have said so far."""
        logs = home() / "logs" / str(self.port)
        files = (logs / "triton.log", *sorted((logs / "models").glob("*.log")))
        return "".join(path.read_text(errors="replace") for path in files)

    def family(self) -> list[psutil.Process]:
        """The serving process and everything below it."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def named(self, part: str) -> list[psutil.Process]:
        """Processes of the family whose name or command line has `part` in it."""
        members = []
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                if part in process.name() or any(part in word for word in process.cmdline()):
                    members.append(process)
        return members


@contextlib.contextmanager
def served(repository: Path, log: Path, *flags: str, timeout_s: float = 300) -> Iterator[Service]:
    """Runs `toolkit serve` on a built repository until the block ends; it must end cleanly."""
    port = free_port()
    command = [sys.executable, "-m", "toolkit", "serve", str(repository), "--port", str(port)]
    command += ["--stop-with-parent", *flags]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=sink, cwd=ROOT, env=with_data_directory(log)
        )
    service = Service(process, port, log)
    try:
        wait_for(
            lambda: status_of(f"{service.url}/readyz") == 200 or process.poll() is not None,
            timeout_s,
            "serving",
        )
        assert process.poll() is None, log.read_text()
        yield service
    finally:
        family = service.family() if process.poll() is None else []
        shared = shared_memory(family)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(90)
    wait_for(lambda: not any(alive(member) for member in family), what="the end of every process")
    assert not [path for path in shared if path.exists()], "shared memory was left"


def with_data_directory(log: Path) -> dict[str, str]:
    """The environment of a service, whose database is beside its log where pytest sets no other."""
    return {"TRITON_FRONTEND_DATA_DIRECTORY": str(log.with_name("data")), **os.environ}


def shared_memory(processes: list[psutil.Process]) -> set[Path]:
    """The files of /dev/shm that the processes have mapped."""
    files = set()
    for process in processes:
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            files |= {Path(path) for path in re.findall(r"(/dev/shm/\S+)$", maps, re.MULTILINE)}
    return files


def alive(process: psutil.Process) -> bool:
    """Whether it runs: a zombie that waits for its parent does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
