"""Fair shares over several gateway processes on one database.

Each process schedules its own slots by its own deficits, so a decision never waits for another
process. What is exchanged is the service that users attained, which the ledger writes down anyway:
once per interval, while requests wait, each process reads what others have served. A user who
was served more elsewhere than the least served competitor owes the difference here. While fewer
than two users wait, nothing is read.
"""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from frontend.background import in_background
from frontend.domain.usage import Usage
from frontend.errors import StoreUnavailable
from frontend.scheduling.cost import CostWeights
from frontend.scheduling.policy import FairShare
from frontend.store.usage import Served, UsageStore

_OVERLAP_S = 5.0
"""Of two reads: transactions end later than they begin, and clocks differ."""
_WAITED_S = 0.001
_REMEMBERED = 20_000
_MOST_INTERVALS = 4
"""What one read may let a user owe, in intervals of the fastest service that it saw."""
_Pair = tuple[str, str]


def charge_elsewhere(policy: FairShare, served: dict[_Pair, int], competing: set[_Pair]) -> None:
    """Charges the competing (group, user) pairs for what each was served elsewhere, beyond the
    least served of them by weight. Pure."""
    tree = policy.first
    users: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    groups: dict[str, tuple[int, int]] = {}
    # a group is charged for all of its users, also for those who are not here
    whole: defaultdict[str, int] = defaultdict(int)
    for (name, _), tokens in served.items():
        whole[name] += tokens
    for name, user in competing:
        flow = tree.find(name, user)
        if flow is not None and flow.parent is not None:
            users[name][user] = served.get((name, user), 0), flow.weight
            groups[name] = whole[name], flow.parent.weight
    fastest = max((tokens / weight for tokens, weight in groups.values()), default=0)
    most = max(policy.quantum.tokens * policy.quantum.most_rounds, int(_MOST_INTERVALS * fastest))
    owed = {
        (name, user): tokens
        for name, each in users.items()
        for user, tokens in _excess(each).items()
    }
    tree.owe(_excess(groups), owed, most)


def _excess(served: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Tokens beyond those that the least served had for each weight."""
    least = min((tokens / weight for tokens, weight in served.values()), default=0)
    excess = {name: round(tokens - least * weight) for name, (tokens, weight) in served.items()}
    return {name: tokens for name, tokens in excess.items() if tokens > 0}


@dataclass(slots=True)
class Exchange:
    """One process's end of the exchange."""

    policy: FairShare
    store: UsageStore
    weights: CostWeights
    interval_s: float = 1.0
    now_s: Callable[[], float] = time.time
    _own: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _read_at_s: float | None = None
    _numbers: dict[_Pair, int] = field(default_factory=dict)

    def own(self, request_id: str) -> None:
        """A request of this process, whose service its policy knows already."""
        _remember(self._own, request_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Exchanges until the block ends."""
        async with in_background(self._exchange_often()):
            yield

    async def exchange(self) -> None:
        """Reads what other gateways have served, and charges it. Raises StoreUnavailable while the
        store cannot be reached."""
        competing = self._competing()
        if len(competing) < 2:
            self._read_at_s = None
            return
        now_s, before_s = self.now_s(), self._read_at_s
        rows = await self.store.served_since((before_s or now_s) - _OVERLAP_S)
        new = [row for row in rows if row.request_id not in self._seen]
        for row in new:
            _remember(self._seen, row.request_id)
        self._read_at_s = now_s
        # what was served before anybody waited is nobody's debt
        if before_s is not None:
            charge_elsewhere(self.policy, self._sum(new), competing)

    def _sum(self, rows: Iterable[Served]) -> dict[_Pair, int]:
        sums: defaultdict[_Pair, int] = defaultdict(int)
        for row in rows:
            if row.request_id not in self._own:
                used = Usage(row.prompt_tokens, row.cached_tokens, row.completion_tokens)
                sums[row.group, row.user] += self.weights.of(used)
        return sums

    def _competing(self) -> set[_Pair]:
        """Those who wait, or have waited since the last exchange."""
        waiting = {(flow.parent.name, flow.name) for flow in self.policy.first if flow.parent}
        numbers: dict[_Pair, int] = {}
        for job in self.policy.decisions:
            made = job.decision
            if made is not None and made.waited_s > _WAITED_S and not job.background:
                numbers[job.group, job.user] = job.number
        new = {pair for pair, number in numbers.items() if number > self._numbers.get(pair, 0)}
        self._numbers = numbers
        return waiting | new

    async def _exchange_often(self) -> None:
        while True:
            await asyncio.sleep(self.interval_s)
            # without the database each process is fair on its own
            with suppress(StoreUnavailable):
                await self.exchange()


def _remember(ids: OrderedDict[str, None], one: str) -> None:
    ids[one] = None
    if len(ids) > _REMEMBERED:
        ids.popitem(last=False)
