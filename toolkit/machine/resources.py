"""Memory and processors that this process may use, within its container's limits."""

from dataclasses import dataclass

from toolkit.machine.local import Machine

_V2, _V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"


@dataclass(frozen=True, slots=True)
class Memory:
    """`limited`: a control group allows less than the machine has."""

    total_bytes: int
    available_bytes: int
    limited: bool


def memory_bytes(machine: Machine) -> Memory:
    """The machine's memory, or its control group's limit if that is lower."""
    total, available = machine.memory()
    limit = _number(machine.read(f"{_V2}/memory.max"))
    used = _number(machine.read(f"{_V2}/memory.current"))
    if limit is None:
        limit = _number(machine.read(f"{_V1}/memory.limit_in_bytes"))
        used = _number(machine.read(f"{_V1}/memory.usage_in_bytes"))
    # v1 writes about 2^63 for "no limit"
    if limit is None or limit >= total:
        return Memory(total, available, limited=False)
    return Memory(limit, max(0, min(available, limit - (used or 0))), limited=True)


def cores(machine: Machine) -> int:
    """Logical processors: the process's affinity, and its container's quota."""
    quota = (machine.read(f"{_V2}/cpu.max") or "max").split()
    allowed = machine.processors()
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
        return max(1, min(allowed, int(quota[0]) // int(quota[1])))
    return allowed


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isdigit() else None
