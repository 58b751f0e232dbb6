"""The processes that run models inside Triton's Python backend: one stub for each instance.

Triton starts each once as its own child and never again, so the process tree shows which exist.
"""

import os
from contextlib import suppress
from pathlib import Path

import psutil

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def live_stubs(root: int) -> dict[int, str]:
    """The stubs below the process `root`: the model of each process id."""
    stubs = {}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(root).children(recursive=True):
            with suppress(psutil.Error, IndexError):
                # the kernel cuts names at 15 bytes: triton_python_backend_stub
                if process.name().startswith("triton_python"):
                    # its first argument is REPOSITORY/MODEL/VERSION/model.py
                    stubs[process.pid] = Path(process.cmdline()[1]).parts[-3]
    return stubs


def cpu_s(pids: list[int]) -> float:
    """Seconds that these processes and all below them have computed, or waited for their memory."""
    return sum(_cpu_s(process.pid) for process in _families(pids))


def moved_mib(pids: list[int]) -> float:
    """MiB that these processes and all below them have read and written, also in caches."""
    return sum(_moved_bytes(process.pid) for process in _families(pids)) / 2**20


def own_cpu_s(root: int) -> float:
    """Seconds that the processes directly below `root` have computed, without those below them."""
    with suppress(psutil.Error):
        return sum(_cpu_s(process.pid) for process in psutil.Process(root).children())
    return 0.0


def kill(pids: list[int]) -> None:
    """Kills these processes and their descendants; also stopped ones."""
    for process in _families(pids):
        with suppress(psutil.Error):
            process.kill()


def _families(pids: list[int]) -> list[psutil.Process]:
    processes = []
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            processes += [process, *process.children(recursive=True)]
    return processes


def _cpu_s(pid: int) -> float:
    try:
        # after the command name in parentheses: state, ppid, …, majflt (10th), …, utime, stime
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    page_ins, ticks = int(fields[9]), int(fields[11]) + int(fields[12])
    # 1 ms per page read from disk: a process that only swaps is slow, not dead
    return ticks / _TICKS_PER_S + page_ins / 1000


def _moved_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    # rchar and wchar: what it asked for, whether or not the disk had to do it
    return sum(int(line.split()[1]) for line in lines[:2])
