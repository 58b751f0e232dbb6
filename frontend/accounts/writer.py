"""Writes the changes of a gateway's ledger, one transaction after another.

Changes that arrive while a transaction runs are written together in the next one, so the cost per
request is small. A reserve waits for its transaction. A settle is only queued, so it cannot fail or
be cancelled; it is repeated until the database has it. It does not decide about grants.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from frontend.accounts.batch import Batch, Reserve, apply
from frontend.accounts.clock import Clock
from frontend.accounts.holds import Hold
from frontend.accounts.memory import Memory
from frontend.accounts.offline import Offline
from frontend.accounts.quick import Quick
from frontend.accounts.quotas import Grant
from frontend.accounts.recovery import write_line
from frontend.domain.metering import UsageRow
from frontend.errors import StoreUnavailable
from frontend.store.journal import Journal
from frontend.store.ledger.books import LedgerStore

_LAZY_S = 0.05
_ALONE_S = 0.25
"""The same where the journal keeps it and no other gateway counts with it; well below the time that
a new gateway waits before it serves."""
_USAGE_S = 1.0  # of callers without limits: nobody waits for it
_MANY = 256
_RETRY_S = 0.5
_MAX_UNRESERVED = 50_000
_END_S = 3.0
_MOST = 1000
_Waiting = tuple[Reserve, "asyncio.Future[None] | None"]
"""Nobody waits for one that is granted already."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Writer:
    """The queue of one process and the task that empties it."""

    store: LedgerStore
    memory: Memory
    clock: Clock
    quick: Quick
    offline: Offline
    journal: Journal | None
    charged: Callable[[UsageRow], None]
    lost: Callable[[], None]
    """Called for each usage row that could not be kept; never for one with a reservation."""
    _reserves: list[_Waiting] = field(default_factory=list)
    _settles: list[Hold] = field(default_factory=list)
    _flushes: dict[str, Hold] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _lazy: asyncio.TimerHandle | None = None
    _repeated: bool = False
    """The last transaction failed, and may have been committed anyway."""
    _isolates: bool = False
    """One request at a time, since one of them makes every transaction fail."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def backlog(self) -> int:
        """The number of changes to be written to the database."""
        return len(self._reserves) + len(self._settles) + len(self._flushes)

    async def reserve(self, one: Reserve) -> None:
        """Reserves in the next transaction, and waits for it. Raises StoreUnavailable while the
        database cannot be reached."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reserves.append((one, done))
        self.quick.waits(one, self.clock())
        self._wake.set()
        try:
            await done
        except asyncio.CancelledError:
            # what a transaction is just reserving is given back after it
            if (one, done) in self._reserves:
                self._reserves.remove((one, done))
                self.quick.decided(one)
            raise

    def add_granted(self, one: Reserve) -> bool:
        """Writes down what was granted without a transaction; False: it must not be granted, since
        it could not be kept in the journal."""
        hold = one.hold
        assert one.granted is not None
        hold.parts[one.part] = one.granted.holds
        # what is kept nowhere must not be granted, except while the database is away
        if not self.note(hold) and not hold.is_offline:
            del hold.parts[one.part]
            self.quick.withdraw(hold, one.part)
            return False
        hold.queued.append(one)
        self._reserves.append((one, None))
        self._soon()
        return True

    def note(self, hold: Hold) -> bool:
        """Writes a hold to the journal until the database has it."""
        return self.journal is not None and self.journal.write(
            hold.row.request_id, write_line(hold)
        )

    def settle(self, hold: Hold) -> None:
        """Charges a request once, later. Never waits and never fails."""
        if hold.is_settled or not (hold.parts or hold.started):
            return  # or nothing was reserved and nothing ran
        self._flushes.pop(hold.row.request_id, None)
        # rows without a reservation may be lost, while the others are swept by another gateway
        if not hold.parts and len(self._settles) >= _MAX_UNRESERVED:
            self.lost()
            return
        hold.is_settled = True
        self._leave_out(hold)
        self._settles.append(hold)
        self.note(hold)
        self._soon(None if hold.parts else _USAGE_S)

    def flush(self, hold: Hold) -> None:
        """Writes the counts of a running request, later."""
        self._flushes[hold.row.request_id] = hold
        self._soon()

    async def run(self) -> None:
        """Writes until it is cancelled."""
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

    async def write(self) -> None:
        """Returns when all added changes are written, or the database cannot be reached."""
        async with self._turn:
            # what is added meanwhile need not be waited for
            for _ in range(2 + self.backlog // _MOST):
                if not self.backlog or not await self._commit():
                    return

    async def end(self) -> None:
        """Writes the rest; another gateway's sweep settles what cannot be written."""
        if self._lazy is not None:
            self._lazy.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                while self._settles or self._flushes:
                    if not await self._commit():
                        await asyncio.sleep(_RETRY_S)
                with suppress(StoreUnavailable):
                    await self.store.write(lambda books: books.end_gateway(self.memory.gateway_id))

    def _leave_out(self, hold: Hold) -> None:
        """Charges a request without writing first what it has reserved and nobody has seen."""
        if not hold.queued:
            return
        if len(hold.queued) == len(hold.parts):
            hold.is_unwritten = True
            self.quick.ended(hold)
        queued = {id(one) for one in hold.queued}
        self._reserves = [each for each in self._reserves if id(each[0]) not in queued]
        hold.queued.clear()

    def _soon(self, delay_s: float | None = None) -> None:
        """Writes after a moment, together with what arrives until then."""
        if delay_s is None:
            is_alone = self.journal is not None and self.memory.is_alone(self.clock())
            delay_s = _ALONE_S if is_alone else _LAZY_S
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

    async def _commit(self) -> bool:
        """One transaction with everything that waits; False: the database is away."""
        most = 1 if self._isolates else _MOST
        settles, self._settles = self._settles[:most], self._settles[most:]
        reserves: list[_Waiting] = []
        # what is charged without a reservation is in no counter before its transaction
        if not self._isolates and not self._settles:
            reserves, self._reserves = self._reserves[:_MOST], self._reserves[_MOST:]
            # from here on they may be committed, so `settle` must not leave them out any more
            for one, _ in reserves:
                one.hold.queued.clear()
        flushes, self._flushes = [*self._flushes.values()], {}
        if not (reserves or settles or flushes):
            return True
        batch = Batch([one for one, _ in reserves], settles, flushes, self._repeated)
        try:
            # the time within the transaction: it may have waited long for others
            await self.store.write(lambda books: apply(books, batch, self.memory, self.clock()))
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
        self.offline.back(self.clock())
        self._committed(reserves, settles)
        return True

    def _committed(self, reserves: list[_Waiting], settles: list[Hold]) -> None:
        """Answers those who wait, and counts what was charged."""
        for one, done in reserves:
            if one.granted is not None:
                self.quick.written(one.hold, one.part)
                continue
            self.quick.decided(one)
            if isinstance(one.answer, Grant) and one.part:
                one.hold.parts[one.part] = one.answer.holds
            assert done is not None
            if not done.done():
                done.set_result(None)
            elif one.part:
                self.settle(one.hold)  # its caller went away while it was written
        if self.journal is not None:
            kept = [one.hold for one, _ in reserves if not one.hold.is_settled]
            self.journal.saved(hold.row.request_id for hold in (*settles, *kept))
        for hold in settles:
            for part in [*hold.taken]:
                self.quick.written(hold, part)
            if hold.is_charged:
                self.charged(hold.row)

    def _failed(
        self,
        reserves: list[_Waiting],
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
            self.quick.decided(one)
            if one.part and isinstance(one.answer, Grant):
                self._settles.append(_given_back(one, one.answer))
            if not done.done():
                away = isinstance(error, StoreUnavailable)
                done.set_exception(error if away else StoreUnavailable("the transaction failed"))

    def _again(self, granted: list[Reserve]) -> None:
        """Writes what was granted already with the next transaction, or only settles it."""
        for one in granted:
            one.hold.queued.append(one)
        for one in granted:
            if one.hold.is_settled:
                self._leave_out(one.hold)
        self._reserves[:0] = [(one, None) for one in granted if one in one.hold.queued]

    def _isolate(self, settles: list[Hold]) -> None:
        """Finds the request that makes every transaction fail, one by one, and leaves it out."""
        if self._isolates and settles:
            self._settles.remove(settles[0])
            text, request_id = (
                "a request could not be settled; its reservation is released later: %s",
                settles[0].row.request_id,
            )
            _log.error(text, request_id, extra={"id": request_id})
        self._isolates = bool(self._settles)


def _given_back(one: Reserve, answer: Grant) -> Hold:
    """What a failed transaction has reserved after all is settled as if nothing had run."""
    hold = one.hold
    # a hold of its own, since the request may continue with an offline grant
    given_back = Hold(hold.row, hold.deadline_us, failed=hold.failed)
    given_back.parts[one.part] = answer.holds
    if one.is_first:
        given_back.payer, given_back.credits = hold.payer, hold.credits
        hold.payer, hold.credits = None, 0
        hold.failed += 1
    return given_back
