"""The queue in front of the models: the policy's decisions, as futures of those who wait.

One future per waiter, no task and no timer of its own: whatever frees a slot makes the next
decision. Memory is bounded: by requests and bytes in all, and by requests of each user. A draining
queue admits nothing new.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from frontend.domain.request import Place
from frontend.errors import MAX_RETRY_MS, BackendTimeout, Overloaded, RateLimited
from frontend.scheduling.jobs import Job
from frontend.scheduling.policy import FairShare

_NEWEST = 0.1
"""Of the last job in the mean time that jobs hold a slot."""
_UNKNOWN_S = 2.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait: requests in total and for each user, and bytes of prompts."""

    waiting: int = 4096
    waiting_per_user: int = 64
    waiting_bytes: int = 256 * 2**20


@dataclass(slots=True)
class _Slot:
    """A slot, for a block. A generator would cost each request twice as much."""

    queue: "Queue"
    job: Job
    timeout_s: float
    waits: Callable[[], None] | None
    begun_s: float = 0.0

    async def __aenter__(self) -> Job:
        self.begun_s = await self.queue._begin(self.job, self.timeout_s, self.waits)
        return self.job

    async def __aexit__(self, *_: object) -> None:
        self.queue.placed(self.job)
        self.queue._end(self.job, self.begun_s)


@dataclass(slots=True)
class Queue:
    """Slots for running requests, and who waits for them.

    `room`: free places at the upstreams of a model.
    """

    policy: FairShare
    bounds: Bounds = field(default_factory=Bounds)
    clock: Callable[[], float] = time.monotonic
    room: Callable[[str], float] | None = None
    draining: bool = False
    _turns: dict[int, tuple[Job, asyncio.Future[None]]] = field(default_factory=dict)
    _bytes: int = 0
    _held_s: float | None = None
    _unplaced: Counter[str] = field(default_factory=Counter)
    """Running jobs by model that do not have a place at an upstream yet."""

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return self.policy.running

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return self.policy.waiting

    @property
    def waiting_bytes(self) -> int:
        """Bytes of their prompts."""
        return self._bytes

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits, besides what can be done again later."""
        return self.running == self.policy.background and not self.policy.first.waiting

    def slot(
        self, job: Job, timeout_s: float, *, waits: Callable[[], None] | None = None
    ) -> "_Slot":
        """Holds a slot for the block. `waits` is called if it must wait for one.

        Raises RateLimited if the user has too many waiting requests, Overloaded if all users have,
        and BackendTimeout at the deadline.
        """
        return _Slot(self, job, timeout_s, waits)

    async def _begin(self, job: Job, timeout_s: float, waits: Callable[[], None] | None) -> float:
        """Returns when a job has its slot, with the moment when it got it."""
        if self.draining:
            raise shutting_down()
        begun_s = self.clock()
        # the common case, in a fraction of the time
        if self._may_run(job.resource) and self.policy.pass_by(job, begun_s):
            self._begun(job)
        else:
            self.policy.add(job, begun_s)
            self._dispatch()
        if job.decision is None:
            self._check(job)
            if waits is not None:
                waits()
            await self._wait(job, timeout_s)
            begun_s = self.clock()
        if job.unplaced:
            # where it must wait for its place, others must not wait for that
            asyncio.get_running_loop().call_soon(self.placed, job)
        return begun_s

    def settle(self, job: Job, actual: int) -> None:
        """Settles the actual cost of a job that ran. Only its first call counts; for others it does
        nothing."""
        if job.decision is not None:
            self.policy.settle(job, actual)

    def placed(self, job: Job, upstream: str | None = None) -> None:
        """A running job has its place at an upstream, which `room` counts from now on."""
        if upstream is not None and job.decision is not None:
            job.decision.upstream = upstream
        if job.unplaced:
            job.unplaced = False
            self._unplaced[job.resource] -= 1
            self._dispatch()

    def wake(self) -> None:
        """An upstream has room again."""
        self._dispatch()

    def place(self, job: Job) -> Place | None:
        """About which position a job has, and how long it will wait; None: it runs."""
        if job.decision is not None:
            return None
        position = self.policy.position(job)
        return Place(position, self._expected_s(position))

    def drain(self) -> None:
        """Admits nothing new from now on; what waits in the background is refused."""
        self.draining = True
        self._refuse(background=True)

    def refuse_waiting(self) -> None:
        """Ends the wait of every other request, for a server that is shutting down."""
        self._refuse(background=False)

    def _refuse(self, *, background: bool) -> None:
        for job, turn in [*self._turns.values()]:
            if job.background == background and not turn.done():
                turn.set_exception(shutting_down())

    @property
    def expected_wait_s(self) -> float:
        """About how long a request that comes now waits for a slot; 0: it starts at once."""
        if not self.waiting and self.running < self.policy.slots:
            return 0.0
        return self._expected_s(self.waiting + 1)

    def _expected_s(self, position: int) -> float:
        held_s = _UNKNOWN_S if self._held_s is None else self._held_s
        return position * held_s / self.policy.slots

    def _check(self, job: Job) -> None:
        """Refuses a job that would wait beyond a bound. Who sends background jobs bounds them."""
        if job.background:
            return
        flow, bounds = job.flow, self.bounds
        assert flow is not None
        wait_s = self._expected_s(self.policy.position(job))
        if job.bounded and flow.waiting > bounds.waiting_per_user:
            self.policy.remove(job, self.clock())
            raise RateLimited(
                f"{bounds.waiting_per_user} of your requests are already waiting, which is the"
                " maximum for one user; send it again when some of them have ended",
                wait_us=min(max(int(wait_s * 1e6), 1_000_000), 1000 * MAX_RETRY_MS),
                code="queue_limit_exceeded",
            )
        if self.policy.first.waiting > bounds.waiting:
            self.policy.remove(job, self.clock())
            raise _overloaded(f"{bounds.waiting} requests are already waiting", wait_s)
        if self._bytes + job.size_bytes > bounds.waiting_bytes:
            self.policy.remove(job, self.clock())
            raise _overloaded("the prompts of the waiting requests have too many bytes", wait_s)

    async def _wait(self, job: Job, timeout_s: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns[id(job)] = job, turn
        self._bytes += job.size_bytes
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            # its slot may have been granted in the very moment in which it gave up
            if job.decision is not None:
                self.policy.settle(job, 0)
                self.placed(job)
                self._end(job, self.clock())
            else:
                self.policy.remove(job, self.clock())
                self._dispatch()
            if isinstance(error, TimeoutError):
                raise BackendTimeout(
                    "the request reached its time limit while it waited for a slot behind other"
                    " requests",
                    code="queue_timeout",
                ) from None
            raise
        finally:
            self._bytes -= job.size_bytes
            del self._turns[id(job)]

    def _end(self, job: Job, begun_s: float) -> None:
        now_s = self.clock()
        held_s = max(now_s - begun_s, 0.0)
        before_s = held_s if self._held_s is None else self._held_s
        self._held_s = before_s + _NEWEST * (held_s - before_s)
        self.policy.end(job, now_s)
        self._dispatch()

    def _dispatch(self) -> None:
        """Lets as many run as can."""
        while (job := self.policy.next(self.clock(), self._may_run)) is not None:
            self._begun(job)
            if (waiting := self._turns.get(id(job))) is not None and not waiting[1].done():
                waiting[1].set_result(None)

    def _begun(self, job: Job) -> None:
        if self.room is not None:
            job.unplaced = True
            self._unplaced[job.resource] += 1

    def _may_run(self, model: str) -> bool:
        if self.room is None:
            return True
        # a place is taken when the request gets there, until then it is counted here; models that
        # share an upstream count together, but each may have one request on its way
        room = self.room(model)
        return room > self._unplaced.total() or room > 0 == self._unplaced[model]


def _overloaded(reason: str, wait_s: float) -> Overloaded:
    error = Overloaded(f"{reason}; try again later")
    error.retry_after_s = min(max(math.ceil(wait_s), 1), MAX_RETRY_MS // 1000)
    return error


def shutting_down() -> Overloaded:
    """The error for a request that a draining server cannot accept or finish."""
    return Overloaded("the server is shutting down; send the request again", code="draining")
