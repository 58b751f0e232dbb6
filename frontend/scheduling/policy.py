"""Which waiting job runs next, on how many slots: two bands of fair shares. Pure.

The caller passes the time, so tests run days of it in a second. Background jobs are the
lower band: they run while nothing else can; beside other jobs one at a time, and one of them
begins at least every `patience_s` seconds, whatever waits before it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from frontend.scheduling.jobs import Caps, Flow, Job
from frontend.scheduling.ring import Quantum
from frontend.scheduling.tree import Tree

MAX_DECISIONS = 1000


@dataclass(slots=True)
class FairShare:
    """One pool: its slots, who waits for them, and why the last ones got theirs."""

    slots: int
    quantum: Quantum = field(default_factory=Quantum)
    caps: Caps = field(default_factory=Caps)
    patience_s: float = 60.0
    running: int = 0
    background: int = 0
    """Of those that run."""
    decisions: deque[Job] = field(default_factory=lambda: deque(maxlen=MAX_DECISIONS))
    """The jobs that ran last, each with its decision."""
    first: Tree = field(init=False)
    last: Tree = field(init=False)
    _since_s: float = 0.0
    """When the background band last got a slot, or began to wait."""
    _idle_since_s: float | None = None

    def __post_init__(self) -> None:
        self.first, self.last = Tree(self.quantum, self.caps), Tree(self.quantum, self.caps)

    @property
    def waiting(self) -> int:
        """Jobs that wait, in both bands."""
        return self.first.waiting + self.last.waiting

    def tree(self, job: Job) -> Tree:
        """The band of a job."""
        return self.last if job.background else self.first

    def add(self, job: Job, now_s: float) -> Flow:
        """A job waits from now on."""
        job.at_s = now_s
        if self._idle_since_s is not None:
            # a clock that jumps back earns nothing
            idle_s = max(now_s - self._idle_since_s, 0.0)
            self.first.idle_s += idle_s
            self.last.idle_s += idle_s
            self._idle_since_s = None
        if job.background and not self.last.waiting:
            self._since_s = now_s
        return self.tree(job).add(job)

    def pass_by(self, job: Job, now_s: float) -> bool:
        """Whether a job can run without waiting, as nothing waits; then it is charged, and runs."""
        is_plain = not (job.background or self.quantum.burst_rounds or self.caps.user)
        if self.waiting or self.running >= self.slots or not is_plain or self.caps.key:
            return False
        job.at_s, self._idle_since_s = now_s, None
        self.first.pass_by(job)
        self._begin(job, now_s)
        return True

    def position(self, job: Job) -> int:
        """About how many waiting jobs run until this one has run."""
        before = self.first.waiting if job.background else 0
        return before + self.tree(job).position(job)

    def remove(self, job: Job, now_s: float) -> None:
        """A waiting job is given up."""
        self.tree(job).remove(job)
        self._rest(now_s)

    def next(self, now_s: float, has_capacity: Callable[[str], bool]) -> Job | None:
        """The next job to run, which is charged and takes a slot; None: nothing can run now."""
        if self.running >= self.slots or not (self.first.waiting or self.last.waiting):
            return None
        for tree in self._bands(now_s):
            job = tree.next(has_capacity)
            if job is not None:
                self._begin(job, now_s)
                return job
        return None

    def end(self, job: Job, now_s: float) -> None:
        """A running job gives its slot back. `settle` corrects its cost."""
        self.running -= 1
        self.background -= job.background
        self.tree(job).end(job)
        self._rest(now_s)

    def settle(self, job: Job, actual: int) -> None:
        """Settles the actual cost of a job that ran; only the first call for a job counts."""
        if not job.settled:
            job.settled = True
            self.tree(job).settle(job, actual)
            if job.decision is not None:
                job.decision.actual = actual

    def _bands(self, now_s: float) -> Iterable[Tree]:
        alone = self.running == self.background
        may = self.last.waiting and (alone or not self.background)
        if not may:
            return (self.first,)
        # one that runs beside others is progress enough
        if not self.background and now_s - self._since_s >= self.patience_s:
            return (self.last, self.first)
        return (self.first, self.last)

    def _begin(self, job: Job, now_s: float) -> None:
        self.running += 1
        if job.background:
            self.background += 1
            self._since_s = now_s
        decision = job.decision
        assert decision is not None
        decision.at_s, decision.waited_s = now_s, now_s - job.at_s
        decision.waiting, decision.running = self.waiting, self.running
        self.decisions.append(job)

    def _rest(self, now_s: float) -> None:
        if not (self.running or self.first.waiting or self.last.waiting):
            self._idle_since_s = now_s
