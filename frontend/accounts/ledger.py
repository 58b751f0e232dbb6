"""The ledger of a gateway: reserves before a request runs, and settles when it has ended.

Limits in Redis are reserved first, then those of the database; a request has both or none. The
reservations of a killed process are in the database, and other gateways settle them.
`accounts.writer` decides when rows are written.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from frontend.accounts.batch import MANY, NoCredits, Reserve
from frontend.accounts.clock import Clock
from frontend.accounts.holds import Hold
from frontend.accounts.limits import Counter, reset_us
from frontend.accounts.memory import Memory, rates_of, read_rules
from frontend.accounts.offline import Offline
from frontend.accounts.quick import Quick
from frontend.accounts.quotas import Grant, Need, Refusal, Tight
from frontend.accounts.refusals import Refused, refusal_of
from frontend.accounts.remaining import Remaining
from frontend.accounts.rules import Rules
from frontend.accounts.shared import Shared
from frontend.accounts.sweeper import Settled, Sweeper, ignore
from frontend.accounts.windows import SECOND_US
from frontend.accounts.writer import Writer
from frontend.background import in_background
from frontend.domain.identity import Caller
from frontend.domain.ids import new_id
from frontend.domain.metering import Owner, UsageRow
from frontend.errors import RateLimited, StoreUnavailable
from frontend.store.journal import Journal
from frontend.store.ledger.books import LedgerStore

FLUSH_TOKENS = 64
FLUSH_US = 2 * SECOND_US


def owner_of(caller: Caller) -> Owner:
    """The owner of a caller's requests."""
    return Owner(caller.organisation, caller.group, caller.user, caller.key)


@dataclass(slots=True)
class Ledger:
    """The ledger of one process. Create it inside the event loop that uses it."""

    store: LedgerStore
    default_tokens: int
    max_refused: int
    charged: Callable[[UsageRow], None]
    lost: Callable[[], None]
    """Called for each usage row that could not be kept; never for one with a reservation."""
    clock: Clock = field(default_factory=Clock)
    folder: Path | None = None
    """Of the journals of all processes; without it, every grant waits for its transaction."""
    shared: Shared | None = None
    """The limits in Redis, where there is one."""
    settled: Settled = ignore
    """Called with the requests of dead gateways that were charged."""
    remaining: Remaining = field(init=False)
    _memory: Memory = field(init=False)
    _offline: Offline = field(init=False)
    _quick: Quick = field(init=False)
    _refused: Refused = field(init=False)
    _sweeper: Sweeper = field(init=False)
    _writer: Writer = field(init=False)
    _journal: Journal | None = None
    _reading: dict[Owner, asyncio.Task[Rules]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        memory = Memory(new_id(), self.default_tokens, has_redis=self.shared is not None)
        self._memory, self._refused = memory, Refused(self.max_refused)
        self._quick = Quick(memory)
        self._offline = Offline(memory, self._quick)
        share = None if self.shared is None else self.shared.share
        self._sweeper = Sweeper(
            self.store, memory, self.clock, self.charged, self.folder, share, self.settled
        )
        if self.folder is not None:
            self._journal = Journal(self.folder, memory.gateway_id)
        self.remaining = Remaining(self.store, memory, self._quick, self.clock, self.shared)
        self._writer = Writer(
            self.store,
            memory,
            self.clock,
            self._quick,
            self._offline,
            self._journal,
            self.charged,
            self.lost,
        )

    @property
    def backlog(self) -> int:
        """The number of rows to be written to the database."""
        return self._writer.backlog

    def is_unlimited(self, owner: Owner) -> bool:
        """Whether the caller is known to have no limits."""
        return self._memory.is_unlimited(owner, self.clock())

    async def reserve(self, hold: Hold, need: Need) -> Grant | Tight:
        """Reserves in every limit at once. Raises RateLimited or QuotaExceeded if a limit has too
        little left, and StoreUnavailable while the database cannot be reached."""
        owner, now_us = hold.row.owner, self.clock()
        if hold.is_offline:
            raise StoreUnavailable("the request was granted while the database was not available")
        # before anything costs a read of the database
        self._refused.check(owner, now_us)
        if self.shared is None:
            return await self._reserve(hold, need)
        rules = await self._rules(owner)
        limits = rules.shared_for(hold.row.model)
        part = f"{hold.row.request_id}/{len(hold.shared)}"
        answer, counters = await self.shared.reserve(part, limits, need)
        self.remaining.remember_shared(owner, rates_of(limits, counters, self.clock()))
        if not isinstance(answer, Grant):
            return self._refuse(owner, answer)
        hold.shared.append(part)
        granted: Grant | Tight | None = None
        try:
            granted = await self._reserve(hold, replace(need, output=answer.output))
        finally:
            if not isinstance(granted, Grant):  # refused by the database: it costs nothing here
                hold.shared.remove(part)
                self.shared.settle(part, None)
        if isinstance(granted, Grant) and granted.output == answer.output:
            return replace(granted, lowered_by=answer.lowered_by)
        return granted

    def refuse(self, hold: Hold, needed: int) -> RateLimited:
        """The error for a request that needed more than its budget had left."""
        assert hold.lowered is not None
        now_us, (limit, had) = self.clock(), hold.lowered
        self._refused.add(hold.row.owner, now_us)
        counter = self._memory.counters.get(limit.key) or Counter()
        wait_us = reset_us(limit, counter, now_us, needed) if needed <= limit.amount else None
        whole_us = reset_us(limit, counter, now_us)
        return refusal_of(Refusal(limit, had, needed, now_us, wait_us, whole_us), now_us)

    def settle(self, hold: Hold) -> None:
        """Settles a request, whatever its result. Never waits and never fails."""
        self._settle_shared(hold)
        if hold.is_offline:
            self._offline.release(hold, self.clock())
        self._writer.settle(hold)

    def is_due(self, hold: Hold) -> bool:
        """Whether the counts of a running request should be written now."""
        if hold.produced - hold.flushed >= FLUSH_TOKENS:
            return True
        return self.clock() - hold.flushed_us >= FLUSH_US

    def flush(self, hold: Hold) -> None:
        """Writes the counts of a running request, later."""
        hold.flushed, hold.flushed_us = hold.produced, self.clock()
        self._writer.flush(hold)

    async def write(self) -> None:
        """Returns when ended requests are counted in the database, or it cannot be reached."""
        await self._writer.write()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes and sweeps until the block ends, and then writes what is left."""
        async with AsyncExitStack() as stack:
            if self.shared is not None:
                await stack.enter_async_context(self.shared.running())
            await self._sweeper.join()
            try:
                async with in_background(self._sweeper.run(), self._writer.run()):
                    yield
            finally:
                await self._writer.end()
                if self._journal is not None:
                    self._journal.close()

    async def _reserve(self, hold: Hold, need: Need) -> Grant | Tight:
        """In the limits that the database counts."""
        owner, now_us = hold.row.owner, self.clock()
        granted = None if self._journal is None else self._quick.grant(hold, need, now_us)
        if granted is not None and self._write_later(hold, need, granted, now_us):
            return granted
        one = Reserve(hold, need)
        try:
            await self._writer.reserve(one)
        except StoreUnavailable:
            grant = self._offline.reserve(hold, need, now_us)
            if grant.holds:
                self._writer.add_granted(Reserve(hold, need, grant, part=hold.next_id))
            return grant
        answer = one.answer
        if one.rates is not None:
            self.remaining.remember(owner, one.rates)
        if isinstance(answer, Grant):
            return answer
        assert answer is not None
        return self._refuse(owner, answer)

    def _write_later(self, hold: Hold, need: Need, granted: Grant, now_us: int) -> bool:
        if not (granted.holds or hold.promised):
            return True
        if not self._writer.add_granted(Reserve(hold, need, granted, part=hold.next_id)):
            return False
        limits = [limit for limit, _ in granted.holds]
        self.remaining.remember(hold.row.owner, self._quick.rates(limits, now_us))
        return True

    def _refuse(self, owner: Owner, answer: Refusal | NoCredits | Tight) -> Tight:
        """Raises the error of a refusal; Tight only asks for an exact count."""
        if isinstance(answer, Tight):
            return answer
        now_us = self.clock()
        self._refused.add(owner, now_us)
        raise refusal_of(answer, now_us)

    async def _rules(self, owner: Owner) -> Rules:
        """A caller's rules, read once however many requests ask; old ones while that fails."""
        if (rules := self._memory.rules_for(owner, self.clock())) is not None:
            return rules
        if (task := self._reading.get(owner)) is None:
            task = self._reading[owner] = asyncio.create_task(self._read_rules(owner))
            task.add_done_callback(lambda _: self._reading.pop(owner, None))
        known = self._memory.rules.get(owner)
        try:
            # a caller that goes away must not end it for others
            return await asyncio.shield(task)
        except StoreUnavailable:
            if known is None:
                raise
            return known[1]

    async def _read_rules(self, owner: Owner) -> Rules:
        memory, now_us = self._memory, self.clock()
        if len(memory.rules) > MANY:
            memory.rules.clear()
        await self.store.read(lambda books: read_rules(books, memory, [owner], now_us))
        return memory.rules[owner][1]

    def _settle_shared(self, hold: Hold) -> None:
        if self.shared is None:
            return
        for number, part in enumerate(hold.shared):
            # the tokens of a request count once, in its first part
            tokens = 0 if number else hold.tokens
            self.shared.settle(part, tokens if hold.started else None)
        hold.shared.clear()
