"""Reserve before a request runs, settle when it has ended: the ledger as a gateway uses it.

One task writes: what arrives while a transaction runs goes into the next one together, so a
transaction costs little per request. A reserve waits for its transaction. A settle is only queued,
so it can neither fail nor be cancelled; it is repeated until the database has it. A process that is
killed has written down what it reserved, and others settle it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from frontend.accounts.batch import MANY, Batch, NoCredits, Reserve, apply
from frontend.accounts.clock import Clock
from frontend.accounts.holds import Hold
from frontend.accounts.limits import Counter, left, reset_us
from frontend.accounts.memory import (
    Memory,
    merged,
    rates_of,
    read_limits,
    read_rates,
    read_rules,
)
from frontend.accounts.offline import Offline
from frontend.accounts.quick import Quick
from frontend.accounts.quotas import Grant, Need, Refusal, Tight
from frontend.accounts.recovery import write_line
from frontend.accounts.refusals import Refused, refusal_of
from frontend.accounts.rules import Rules
from frontend.accounts.shared import Shared
from frontend.accounts.sweeper import Sweeper
from frontend.accounts.windows import SECOND_US, iso
from frontend.domain.identity import Caller
from frontend.domain.ids import new_id
from frontend.domain.metering import Owner, Rates, UsageRow
from frontend.errors import RateLimited, StoreUnavailable
from frontend.store.ledger.books import LedgerStore
from frontend.store.ledger.journal import Journal

FLUSH_TOKENS = 64
FLUSH_US = 2 * SECOND_US
RATES_US = SECOND_US
_LAZY_S = 0.05
_USAGE_S = 1.0  # of callers without limits: nobody waits for it
_MANY = 256
_RETRY_S = 0.5
_MAX_UNRESERVED = 50_000
_END_S = 3.0
_MOST = 1000
_Waiting = tuple[Reserve, "asyncio.Future[None] | None"]
"""Nobody waits for one that is granted already."""
_log = logging.getLogger(__name__)


def owner_of(caller: Caller) -> Owner:
    """Whom the requests of a caller count for."""
    return Owner(caller.organisation, caller.group, caller.user, caller.key)


@dataclass(slots=True)
class Ledger:
    """One process's end of the ledger. Create it inside the event loop that uses it."""

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
    _memory: Memory = field(init=False)
    _offline: Offline = field(init=False)
    _quick: Quick = field(init=False)
    _refused: Refused = field(init=False)
    _sweeper: Sweeper = field(init=False)
    _journal: Journal | None = None
    _rates: dict[Owner, Rates] = field(default_factory=dict)
    _shared_rates: dict[Owner, Rates] = field(default_factory=dict)
    _reading: dict[Owner, asyncio.Task[Rules]] = field(default_factory=dict)
    _reserves: list["_Waiting"] = field(default_factory=list)
    _settles: list[Hold] = field(default_factory=list)
    _flushes: dict[str, Hold] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _lazy: asyncio.TimerHandle | None = None
    _repeated: bool = False
    _isolates: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._memory = Memory(new_id(), self.default_tokens, has_redis=self.shared is not None)
        self._offline, self._quick = Offline(self._memory), Quick(self._memory)
        self._refused = Refused(self.max_refused)
        share = None if self.shared is None else self.shared.share
        self._sweeper = Sweeper(
            self.store, self._memory, self.clock, self.charged, self.folder, share
        )
        if self.folder is not None:
            self._journal = Journal(self.folder, self._memory.gateway_id)

    @property
    def backlog(self) -> int:
        """What still has to be written to the database."""
        return len(self._reserves) + len(self._settles) + len(self._flushes)

    def is_unlimited(self, owner: Owner) -> bool:
        """Whether it is known that the caller has nothing to reserve."""
        # callers without a key, as in open mode, do not have limits
        if not owner.key:
            return True
        rules = self._memory.rules_for(owner, self.clock())
        return rules is not None and rules.is_unlimited

    def rates(self, owner: Owner) -> Rates | None:
        """What is known of a caller's limits since a second ago or less; None: nothing."""
        pair = self._rates.get(owner), self._shared_rates.get(owner)
        new = [one for one in pair if one is not None and self.is_new(one)]
        return merged(*new) if new else None

    def is_new(self, rates: Rates) -> bool:
        """Whether they can be shown: what is older may have been used or reset since."""
        return self.clock() - rates.read_us <= RATES_US

    async def read_rates(self, owner: Owner) -> Rates | None:
        """The same from the database, where nothing is known; while it is away, what was."""
        if (rates := self.rates(owner)) is not None or self.is_unlimited(owner):
            return rates
        now_us = self.clock()

        with suppress(StoreUnavailable):
            rates = await self.store.read(
                lambda books: read_rates(books, self._memory, owner, now_us)
            )
            self._remember(owner, rates)
            if self.shared is not None:
                limits = self._memory.rules[owner][1].shared_for("")
                counters = await self.shared.read(limits)
                self._remember_shared(owner, rates_of(limits, counters, self.clock()))
        pair = self._rates.get(owner), self._shared_rates.get(owner)
        known = [one for one in pair if one is not None]
        return merged(*known) if known else None

    async def limits(self, owner: Owner) -> list[dict[str, Any]]:
        """A caller's limits with what is used and left of them. Raises StoreUnavailable."""
        now_us = self.clock()
        pairs = await self.store.read(lambda books: read_limits(books, self._memory, owner, now_us))
        if self.shared is not None:
            shared = self._memory.rules[owner][1].shared
            counters = await self.shared.read(shared)
            pairs += [(limit, counters[limit.key]) for limit in shared]
            now_us = self.clock()
        return [
            {
                "scope_kind": limit.scope,
                "measure": limit.measure,
                "period": limit.window.name,
                "model": limit.model or None,
                "amount": limit.amount,
                "used": counter.used,
                "reserved": counter.reserved,
                "left": max(left(limit, counter, now_us), 0),
                "resets_at": iso(now_us + reset_us(limit, counter, now_us)),
            }
            for limit, counter in pairs
        ]

    async def reserve(self, hold: Hold, need: Need) -> Grant | Tight:
        """Reserves in every limit at once. Raises RateLimited, QuotaExceeded, StoreUnavailable."""
        owner, now_us = hold.row.owner, self.clock()
        if hold.is_offline:
            raise StoreUnavailable("the request was granted while the database was away")
        # before anything costs a read of the database
        self._refused.check(owner, now_us)
        if self.shared is None:
            return await self._reserve(hold, need)
        rules = await self._rules(owner)
        limits = rules.shared_for(hold.row.model)
        part = f"{hold.row.request_id}/{len(hold.shared)}"
        answer, counters = await self.shared.reserve(part, limits, need)
        self._remember_shared(owner, rates_of(limits, counters, self.clock()))
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

    async def _reserve(self, hold: Hold, need: Need) -> Grant | Tight:
        """In the limits that the database counts."""
        owner, now_us = hold.row.owner, self.clock()
        granted = None if self._journal is None else self._quick.grant(hold, need, now_us)
        if granted is not None and self._write_later(hold, need, granted, now_us):
            return granted
        one = Reserve(hold, need)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reserves.append((one, done))
        self._wake.set()
        try:
            await done
        except asyncio.CancelledError:
            self._withdraw(one, done)
            raise
        except StoreUnavailable:
            grant = self._offline.reserve(hold, need, now_us)
            self._note(hold)
            return grant
        answer = one.answer
        if one.rates is not None:
            self._remember(owner, one.rates)
        if isinstance(answer, Grant):
            return answer
        assert answer is not None
        return self._refuse(owner, answer)

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

    def refuse(self, hold: Hold, needed: int) -> RateLimited:
        """The error for a request that needed more than its budget had left."""
        assert hold.lowered is not None
        now_us, (limit, had) = self.clock(), hold.lowered
        self._refused.add(hold.row.owner, now_us)
        counter = self._memory.counters.get(limit.key) or Counter()
        wait_us = reset_us(limit, counter, now_us, needed) if needed <= limit.amount else None
        whole_us = reset_us(limit, counter, now_us)
        return refusal_of(Refusal(limit, had, needed, now_us, wait_us, whole_us), now_us)

    def _note(self, hold: Hold) -> bool:
        """Keeps in the journal what the database does not have yet."""
        return self._journal is not None and self._journal.write(
            hold.row.request_id, write_line(hold)
        )

    def _write_later(self, hold: Hold, need: Need, granted: Grant, now_us: int) -> bool:
        if not granted.holds:
            return True
        one = Reserve(hold, need, granted, part=hold.next_id)
        hold.parts[one.part] = granted.holds
        # what is kept nowhere must not be granted
        if not self._note(hold):
            del hold.parts[one.part]
            self._quick.written(granted.holds)
            return False
        hold.queued.append(one)
        self._reserves.append((one, None))
        limits = [limit for limit, _ in granted.holds]
        self._remember(hold.row.owner, self._quick.rates(limits, now_us))
        self._soon()
        return True

    def settle(self, hold: Hold) -> None:
        """Ends a request, whatever it came to. Never waits and never fails."""
        self._settle_shared(hold)
        if hold.is_offline:
            self._offline.release(hold, self.clock())
        if hold.is_settled or not (hold.parts or hold.started):
            return  # or nothing was reserved and nothing ran
        self._flushes.pop(hold.row.request_id, None)
        # rows without a reservation may be lost, while the others are swept by another gateway
        if not hold.parts and len(self._settles) >= _MAX_UNRESERVED:
            self.lost()
            return
        hold.is_settled = True
        if len(hold.queued) == len(hold.parts) > 0:  # nothing of it is written yet
            self._leave_out(hold)
        self._settles.append(hold)
        self._note(hold)
        self._soon(_LAZY_S if hold.parts else _USAGE_S)

    def _settle_shared(self, hold: Hold) -> None:
        if self.shared is None:
            return
        for number, part in enumerate(hold.shared):
            # the tokens of a request count once, in its first part
            tokens = 0 if number else hold.tokens
            self.shared.settle(part, tokens if hold.started else None)
        hold.shared.clear()

    def _leave_out(self, hold: Hold) -> None:
        """Charges a request that was short without writing its reservation first."""
        hold.is_unwritten = True
        queued = {id(one) for one in hold.queued}
        self._reserves = [each for each in self._reserves if id(each[0]) not in queued]
        hold.queued.clear()

    def is_due(self, hold: Hold) -> bool:
        """Whether it is time to write the counts of a running request down."""
        if hold.produced - hold.flushed >= FLUSH_TOKENS:
            return True
        return self.clock() - hold.flushed_us >= FLUSH_US

    def flush(self, hold: Hold) -> None:
        """Has the counts of a running request written down."""
        hold.flushed, hold.flushed_us = hold.produced, self.clock()
        if not hold.is_offline:
            self._flushes[hold.row.request_id] = hold
            self._soon()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes and sweeps until the block ends, and then writes what is left."""
        async with AsyncExitStack() as stack:
            if self.shared is not None:
                await stack.enter_async_context(self.shared.running())
            await self._sweeper.join()
            sweeper = asyncio.create_task(self._sweeper.run())
            writer = asyncio.create_task(self._write())
            try:
                yield
            finally:
                sweeper.cancel()
                writer.cancel()
                await asyncio.gather(sweeper, writer, return_exceptions=True)
                if self._lazy is not None:
                    self._lazy.cancel()
                await self._end()
                if self._journal is not None:
                    self._journal.close()

    def _remember_shared(self, owner: Owner, rates: Rates) -> None:
        if len(self._shared_rates) > MANY:
            self._shared_rates.clear()
        self._shared_rates[owner] = rates

    def _remember(self, owner: Owner, rates: Rates) -> None:
        if len(self._rates) > MANY:
            self._rates.clear()
        self._rates[owner] = rates

    def _soon(self, delay_s: float = _LAZY_S) -> None:
        """Writes after a moment, together with what arrives until then."""
        if len(self._settles) >= _MANY:
            self._wake.set()
            return
        loop = asyncio.get_running_loop()
        at_s = loop.time() + delay_s
        # the earlier moment counts
        if self._lazy is None or self._lazy.when() > at_s:
            if self._lazy is not None:
                self._lazy.cancel()
            self._lazy = loop.call_at(at_s, self._wake.set)

    def _withdraw(self, one: Reserve, done: "asyncio.Future[None]") -> None:
        """The caller has gone. What a transaction is just reserving is given back after it."""
        if (one, done) in self._reserves:
            self._reserves.remove((one, done))

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._lazy is not None:
                self._lazy.cancel()
                self._lazy = None
            async with self._turn:
                is_done = await self._commit()
            if not is_done:
                await asyncio.sleep(_RETRY_S)
                self._wake.set()

    async def _commit(self) -> bool:
        """One transaction with everything that waits; False: the database is away."""
        most = 1 if self._isolates else _MOST
        settles, self._settles = self._settles[:most], self._settles[most:]
        reserves: list[_Waiting] = []
        if not self._isolates:
            reserves, self._reserves = self._reserves[:_MOST], self._reserves[_MOST:]
            # from here on they may be committed, so `settle` must not leave them out any more
            for one, _ in reserves:
                one.hold.queued.clear()
        flushes, self._flushes = [*self._flushes.values()], {}
        if not (reserves or settles or flushes):
            return True
        batch = Batch([one for one, _ in reserves], settles, flushes, self._repeated)
        try:
            now_us = self.clock()
            await self.store.write(lambda books: apply(books, batch, self._memory, now_us))
        # after a cancellation too it may have been committed
        except BaseException as error:
            self._failed(reserves, settles, error)
            if isinstance(error, StoreUnavailable):
                return False
            if not isinstance(error, Exception):
                raise
            _log.exception("a transaction of the ledger failed")
            self._isolate(settles)
            return False
        self._repeated = False
        # until all of those that may be at fault have been written one by one
        self._isolates = self._isolates and bool(self._settles)
        if self._settles or self._reserves:
            self._wake.set()
        self._offline.back(now_us)
        self._committed(reserves, settles)
        return True

    def _committed(self, reserves: list["_Waiting"], settles: list[Hold]) -> None:
        """Answers those who wait, and counts what was charged."""
        for one, done in reserves:
            if one.granted is not None:
                self._quick.written(one.granted.holds)
                continue
            if isinstance(one.answer, Grant) and one.part:
                one.hold.parts[one.part] = one.answer.holds
            assert done is not None
            if not done.done():
                done.set_result(None)
            elif one.part:
                self.settle(one.hold)  # its caller went away while it was written
        if self._journal is not None:
            kept = [one.hold for one, _ in reserves if not one.hold.is_settled]
            self._journal.saved(hold.row.request_id for hold in (*settles, *kept))
        for hold in settles:
            if hold.is_unwritten and not hold.is_offline:
                for holds in hold.parts.values():
                    self._quick.written(holds)
            if hold.is_charged:
                self.charged(hold.row)

    def _failed(
        self,
        reserves: list["_Waiting"],
        settles: list[Hold],
        error: BaseException,
    ) -> None:
        """Settles are repeated. A reserve is refused, and given back in case it was committed."""
        self._repeated = True
        # in front again, so that later ones do not overtake them
        self._settles[:0] = settles
        self._again([one for one, done in reserves if done is None])
        for one, done in reserves:
            if done is None:
                continue
            if one.part and isinstance(one.answer, Grant):
                # a hold of its own, since the request may go on with an offline grant
                given_back = Hold(one.hold.row, one.hold.deadline_us)
                given_back.parts[one.part] = one.answer.holds
                given_back.payer, given_back.credits = one.hold.payer, one.hold.credits
                self._settles.append(given_back)
                one.hold.payer, one.hold.credits = None, 0
            if not done.done():
                away = isinstance(error, StoreUnavailable)
                done.set_exception(error if away else StoreUnavailable("the transaction failed"))

    def _again(self, granted: list[Reserve]) -> None:
        """Writes what was granted already with the next transaction, or only settles it."""
        for one in granted:
            one.hold.queued.append(one)
            if one.hold.is_settled and len(one.hold.queued) == len(one.hold.parts):
                self._leave_out(one.hold)
        self._reserves[:0] = [(one, None) for one in granted if one in one.hold.queued]

    def _isolate(self, settles: list[Hold]) -> None:
        """Finds the request that makes every transaction fail, one by one, and leaves it out."""
        if self._isolates and settles:
            self._settles.remove(settles[0])
            _log.error("not settled, its reservation will be swept: %s", settles[0].row.request_id)
        self._isolates = bool(self._settles)

    async def _end(self) -> None:
        """Writes what is left; what cannot be written is settled by another gateway's sweep."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                while self._settles or self._flushes:
                    if not await self._commit():
                        await asyncio.sleep(_RETRY_S)
                with suppress(StoreUnavailable):
                    await self.store.write(lambda books: books.end_gateway(self._memory.gateway_id))
