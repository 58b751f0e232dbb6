"""The data of the scheduler: jobs, users, groups, and the reason for each decision."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from frontend.scheduling.ring import Quantum, Ring, Share


@dataclass(slots=True, eq=False)
class Job:
    """One call that waits or runs. `cost` is the estimate in tokens, `resource` the model."""

    id: str
    user: str
    resource: str
    cost: int
    weight: int = 1
    group: str = ""
    group_weight: int = 1
    key: str = ""
    background: bool = False
    size_bytes: int = 0
    estimate: Callable[[], int] | None = None
    """The cost by what is known now; None: `cost` does not change."""
    at_s: float = 0.0
    number: int = 0
    flow: "Flow | None" = None
    bounded: bool = True
    """Whether the bound of waiting requests per user applies."""
    ahead: int = 0
    """Jobs of the flow that waited when it came, and those that had begun by then."""
    begun_before: int = 0
    alone: bool = False
    """Nobody else of its group waited when it was charged; `group_alone`: no other group."""
    group_alone: bool = False
    settled: bool = False
    unplaced: bool = False
    decision: "Decision | None" = None


@dataclass(slots=True, eq=False)
class Flow(Share):
    """One user of one group. `lanes`: its waiting jobs by model and key, each in order."""

    parent: "Group | None" = None
    lanes: dict[tuple[str, str], OrderedDict[int, Job]] = field(default_factory=dict)
    waiting: int = 0
    running: int = 0
    begun: int = 0
    """Jobs that have ever run."""
    keys: dict[str, int] = field(default_factory=dict)
    """Running jobs of each key."""


@dataclass(slots=True, eq=False)
class Group(Share):
    """Users who share the group's part."""

    ring: Ring[Flow] = field(default_factory=lambda: Ring(Quantum()))
    flows: int = 0
    """All that are remembered."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The number of jobs that may run at the same time; 0: no limit."""

    user: int = 0
    key: int = 0


@dataclass(slots=True)
class Decision:
    """Why a job ran when it did. Deficits are tokens, before and after the estimate was charged."""

    weight: int
    group_weight: int
    deficit_before: int
    deficit_after: int
    group_deficit_before: int
    group_deficit_after: int
    round: int
    group_round: int
    actual: int | None = None
    at_s: float = 0.0
    waited_s: float = 0.0
    waiting: int = 0
    """Jobs that still waited."""
    running: int = 0
    upstream: str | None = None
