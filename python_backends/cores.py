"""The CPU features and cores that this process may use."""

import os
from pathlib import Path


def has_avx512(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    flags = next((line for line in cpuinfo.read_text().splitlines() if "flags" in line), "")
    return "avx512f" in flags.split()


def count_cores(
    cgroup: Path = Path("/sys/fs/cgroup/cpu.max"), systems: Path = Path("/sys/devices/system/cpu")
) -> int:
    """Physical cores that this process may use: its affinity, and its container's quota."""
    allowed = os.sched_getaffinity(0)
    # hyper-threads share one vector unit: a second thread on a core only slows down the first
    siblings = {_siblings(systems, cpu) for cpu in allowed}
    return max(1, min(len(siblings), _quota(cgroup)))


def _siblings(systems: Path, cpu: int) -> str:
    try:
        return (systems / f"cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _quota(cgroup: Path) -> int:
    try:
        quota, period = cgroup.read_text().split()
        return int(quota) // int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return 1_000_000
