"""Records when each request reached each stage, for benchmarks; off by default.

The parameter `stages` of a step's config names a folder, in which each process writes a file of
its own: a line is stage, request and the system's monotonic clock in ns, comparable between
processes.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "TRITON_TOOLKIT_STAGES"
"""The folder again, for the child processes of an engine."""

Stamp = Callable[[str, str], None]


def open_stages(folder: str) -> Stamp | None:
    """Returns a function that writes one stamp for a stage and request; None without a folder."""
    if not folder:
        return None
    # O_APPEND: threads of a process write whole lines without a lock
    file = os.open(Path(folder, str(os.getpid())), os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def stamp(stage: str, request: str) -> None:
        os.write(file, f"{stage}\t{request}\t{time.monotonic_ns()}\n".encode())

    return stamp
