"""A gateway process: `python -m frontend` in front of a Triton that runs already."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.forks import start_frontend
from tests.support.processes import (
    ROOT,
    Running,
    free_port,
    status_of,
    wait_for,
    with_data_directory,
)

_START_S = 120
"""The first needs 2 s of CPU, which took more than 30 s on a machine with ten other jobs."""


class Gateway(Running):
    """A running `python -m frontend`."""


@contextlib.contextmanager
def run_gateway(triton: str, log: Path, *flags: str, wait_ready: bool = True) -> Iterator[Gateway]:
    """Runs a gateway until the block ends."""
    port = free_port()
    arguments = ["--port", str(port), "--triton", triton, *flags]
    with log.open("wb") as sink:
        process = start_frontend(arguments, sink.fileno(), ROOT, with_data_directory(log))
    gateway = Gateway(process, port, log)
    route = "readyz" if wait_ready else "healthz"
    try:
        wait_for(
            lambda: status_of(f"{gateway.url}/{route}") == 200 or process.poll() is not None,
            _START_S,
            "an answer of the gateway",
        )
        assert process.poll() is None, log.read_text()
        yield gateway
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
