"""Removes an engine's processes and shared memory when their owner ends.

vLLM's engine core does not watch its parent: after a SIGKILL of the stub it would continue, with
its workers and some 400 MB of /dev/shm. So a guard process, in its own session, holds one end of a
pipe. When the other end closes, it kills every process with the engine's mark in its environment,
unlinks the shared memory that they had mapped and removes folders with the mark in their names. Run
as a script it imports only the standard library.
"""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

MARK = "TOOLKIT_ENGINE_MARK"
"""Environment variable that every process started under a reaper inherits."""
_CHECK_INTERVAL_S = 2.0
_SHARED_MEMORY = "/dev/shm/"  # noqa: S108
_OWNED = re.compile(r"(psm_|sem\.mp-|torch_|VLLM_|vllm)")
"""What vLLM, torch and multiprocessing call their segments; Triton's own are its business."""


def private_folder() -> str:
    """A private temporary folder that the reaper removes. Its path is short: sockets are put
    there, and the path of a socket has at most 107 bytes."""
    return tempfile.mkdtemp(prefix=_folder_prefix(os.environ.get(MARK, "")))


def _folder_prefix(mark: str) -> str:
    return f"tt-{mark[:16]}-"


class Reaper:
    """Guards what this process starts from now on, until `close`."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex
        # the guard itself must not have the mark, or it would kill itself first
        environment = {key: value for key, value in os.environ.items() if key != MARK}
        os.environ[MARK] = mark
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, mark],
            stdin=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )

    def close(self) -> None:
        """Kills what is left of the guarded processes and waits for it."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()


def marked(mark: str) -> list[int]:
    """Processes with the mark, except multiprocessing's resource tracker, which ends by itself."""
    variable = f"{MARK}={mark}".encode()
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            marked_so = variable in (folder / "environ").read_bytes().split(b"\0")
            if marked_so and b"resource_tracker" not in (folder / "cmdline").read_bytes():
                pids.append(int(folder.name))
    return pids


def mapped(pids: Iterable[int]) -> set[str]:
    """Shared memory files that these processes map and that engines make.

    Found by inode: glibc makes a semaphore under another name than the one that it keeps.
    """
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if _SHARED_MEMORY in line:
                    inodes.add(int(line.split()[4]))
    files = [file for file in os.scandir(_SHARED_MEMORY) if _OWNED.match(file.name)]
    return {file.name for file in files if file.inode() in inodes}


def kill(mark: str, timeout_s: float = 10.0) -> None:
    """Kills the marked processes, also those that they start meanwhile."""
    deadline = time.monotonic() + timeout_s
    while (pids := marked(mark)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # a killed process stays in /proc until it is waited for
        select.select([], [], [], 0.02)


def main() -> None:
    """The guard: waits for the end of standard input, looking at what is mapped meanwhile."""
    mark, owner = sys.argv[1], os.getppid()
    names: set[str] = set()
    ended = False
    while not ended:
        ended = bool(select.select([0], [], [], _CHECK_INTERVAL_S)[0])
        names |= mapped([owner, *marked(mark)])  # the owner makes semaphores for its children
    # first: a living process could make segments after they were listed
    kill(mark)
    for name in names:
        with contextlib.suppress(OSError):
            Path(_SHARED_MEMORY, name).unlink()
    for folder in Path(tempfile.gettempdir()).glob(f"{_folder_prefix(mark)}*"):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
