"""Reserves and settles many requests in one transaction, as if one after another.

Settles are first, so that reserves can use what they free. All decisions are made inside the
transaction, which does not wait for anything else, so its locks are short.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from frontend.accounts.holds import Hold, hold_of, reservation_row
from frontend.accounts.limits import (
    Counter,
    Key,
    Limit,
    take,
)
from frontend.accounts.memory import (
    Memory,
    counter_of,
    rates_of,
    read_gateways,
    read_prices,
    read_rules,
    row_of,
)
from frontend.accounts.prices import price_of
from frontend.accounts.purses import MONTH, Purses
from frontend.accounts.quotas import Grant, Need, Refusal, Tight, reserve, settle_all
from frontend.accounts.rules import Rules
from frontend.domain.caching import CACHE
from frontend.domain.metering import Rates, UsageRow
from frontend.store.ledger.books import Books
from frontend.store.usage import add_usage, existing

MANY = 20_000  # callers whose rules are remembered
_ABANDONED = 200  # that one transaction settles


@dataclass(frozen=True, slots=True)
class NoCredits:
    """The payer has fewer credits than the request costs; `reset_us` is when the plan has more."""

    payer: tuple[str, str]
    available: int
    needed: int
    reset_us: int


Answer = Grant | Refusal | Tight | NoCredits


@dataclass(slots=True, eq=False)
class Reserve:
    """A request to be reserved. `answer` is set by the transaction."""

    hold: Hold
    need: Need
    granted: Grant | None = None
    """It was granted already, and is only written down."""
    answer: Answer | None = None
    part: str = ""
    """The id of the reservation, if there is one."""
    rates: Rates | None = None
    credits: int = 0
    """The most that it may take of its payer's, until its transaction has ended."""

    @property
    def is_first(self) -> bool:
        """Whether it is the reservation by which its request is charged."""
        return self.part == self.hold.first_id


@dataclass(slots=True)
class Batch:
    """The reserves and settles of one transaction."""

    reserves: list[Reserve] = field(default_factory=list)
    settles: list[Hold] = field(default_factory=list)
    flushes: list[Hold] = field(default_factory=list)
    is_repeated: bool = False
    """The last attempt may have been committed, although its connection was lost."""


def apply(books: Books, batch: Batch, memory: Memory, now_us: int) -> None:
    """Runs the transaction, and sets the answers of the reserves."""
    _Work(books, memory, now_us).run(batch)


def sweep(books: Books, memory: Memory, now_us: int) -> list[Hold]:
    """Settles some reservations of dead gateways, and of requests beyond their deadline."""
    holds = [hold_of(row, now_us) for row in books.take_abandoned(now_us, _ABANDONED)]
    work = _Work(books, memory, now_us)
    # `take_abandoned` has removed their rows, so all of them count as taken
    work.settle(holds, {part for hold in holds for part in hold.parts}, ())
    work.save()
    return holds


class _Work:
    """One transaction."""

    def __init__(self, books: Books, memory: Memory, now_us: int) -> None:
        self._books = books
        self._memory = memory
        self._now_us = now_us
        self._counters: dict[Key, Counter] = {}
        self._purses = Purses(books, now_us)
        self._reservations: list[tuple[Hold, str, Grant]] = []
        self._usage: list[UsageRow] = []

    def run(self, batch: Batch) -> None:
        """All of a batch."""
        read_gateways(self._books, self._memory, self._now_us)
        if batch.is_repeated:
            self._drop_written(batch)
        ids = [part for hold in batch.settles for part in hold.parts if not hold.is_unwritten]
        taken = self._books.take_reservations(ids) if ids else set()
        known: set[str] = set()
        if batch.is_repeated and batch.settles:
            # a hold without a reservation does not have a row whose removal shows who charged it
            known = existing(self._books, [hold.row.request_id for hold in batch.settles])
        # before the locks: the rules say which counters are needed
        self._read_rules(batch)
        self.settle(batch.settles, taken, batch.reserves, known)
        # after the settles, so that what these have freed can be reserved
        for one in batch.reserves:
            one.answer, limits = self._reserve(one)
            one.rates = rates_of(limits, self._counters, self._now_us)
        self.save()
        self._books.flush(
            (one.first_id, one.row.usage.prompt_tokens, one.row.usage.completion_tokens)
            for one in batch.flushes
        )

    def _drop_written(self, batch: Batch) -> None:
        """Leaves out what the attempt before has committed after all."""
        written = self._books.existing_reservations([one.part for one in batch.reserves])
        batch.reserves = [one for one in batch.reserves if one.part not in written]
        for hold in batch.settles:
            if hold.is_unwritten:
                hold.is_unwritten = not self._books.existing_reservations([*hold.parts])

    def settle(
        self,
        holds: Sequence[Hold],
        taken: Set[str],
        reserves: Sequence[Reserve],
        known: Set[str] = frozenset(),
    ) -> None:
        """Charges every hold once: a hold whose row is gone was charged by another gateway."""
        mine = [hold for hold in holds if _is_mine(hold, taken, known)]
        self._lock(holds, taken, reserves)
        self._open_purses(mine, reserves)
        if any(hold.started for hold in mine):
            read_prices(self._books, self._memory, self._now_us)
        for hold in holds:
            for part, amounts in hold.parts.items():
                if part in taken or (hold.is_unwritten and hold in mine):
                    self._settle_part(hold, amounts, is_first=part == hold.first_id)
        for hold in mine:
            self._charge(hold)

    def save(self) -> None:
        """Writes what has changed."""
        books, now_us = self._books, self._now_us
        books.save_counters((key, row_of(counter)) for key, counter in self._counters.items())
        books.add_reservations(
            [
                reservation_row(hold, request_id, grant.holds, self._memory.gateway_id, now_us)
                for hold, request_id, grant in self._reservations
            ]
        )
        self._purses.save()
        memory = self._memory
        add_usage(books, self._usage, memory.gateway_id)
        # emptied, not trimmed: what is missing is read with the next transaction
        if len(memory.counters) > MANY:
            memory.counters.clear()
        memory.counters.update(self._counters)
        if len(memory.purses) > MANY:
            memory.purses.clear()
        memory.purses.update(self._purses.purses())

    def _lock(self, holds: Sequence[Hold], taken: Set[str], reserves: Sequence[Reserve]) -> None:
        """Every counter and account that the transaction needs, in order and at once."""
        keys = {
            limit.key
            for hold in holds
            for part, amounts in hold.parts.items()
            if part in taken or hold.is_unwritten
            for limit, _ in amounts
        }
        for one in reserves:
            rules = self._rules(one)
            keys |= {limit.key for limit in rules.for_model(one.hold.row.model)}
            if one.granted is not None:
                keys |= {limit.key for limit, _ in one.granted.holds}
        rows = self._books.lock_counters(keys)
        self._counters = {key: counter_of(row) for key, row in rows.items()}

    def _open_purses(self, mine: Sequence[Hold], reserves: Sequence[Reserve]) -> None:
        """Every account of credits; what was granted from memory is taken from it."""
        paying = [hold for hold in mine if hold.payer is not None and hold.credits]
        payers = {hold.payer for hold in paying if hold.payer is not None}
        granted = [hold for hold in paying if hold.is_unwritten and hold.started]
        for one in reserves:
            payer = self._rules(one).payer
            if payer is not None and one.need.requests:
                payers.add(payer)
            if one.granted is not None and one.hold.promised and one.is_first:
                assert one.hold.payer is not None
                payers.add(one.hold.payer)
                granted.append(one.hold)
        if payers:
            self._purses.open(payers, granted)

    def _read_rules(self, batch: Batch) -> None:
        memory, now_us = self._memory, self._now_us
        asking = {one.hold.row.owner for one in batch.reserves}
        stale = {owner for owner in asking if memory.rules_for(owner, now_us) is None}
        # the next request of a caller who keeps asking then finds them
        active = asking | {hold.row.owner for hold in batch.settles}
        stale |= {owner for owner in active if memory.is_ageing(owner, now_us)}
        if not stale:
            return
        # then of the whole batch, since each of them is looked up below
        if len(memory.rules) > MANY:
            memory.rules.clear()
            stale = asking
        read_rules(self._books, memory, stale, now_us)

    def _rules(self, one: Reserve) -> Rules:
        return self._memory.rules[one.hold.row.owner][1]

    def _reserve(self, one: Reserve) -> tuple[Answer, tuple[Limit, ...]]:
        hold, rules = one.hold, self._rules(one)
        limits = rules.for_model(hold.row.model)
        if one.granted is not None:
            for limit, amount in one.granted.holds:
                take(limit, self._counters[limit.key], amount, self._now_us)
            self._reservations.append((hold, one.part, one.granted))
            return one.granted, tuple(limit for limit, _ in one.granted.holds)
        cost = 0
        # credits are per request: more tokens for a running one do not cost them again
        if rules.payer is not None and one.need.requests:
            read_prices(self._books, self._memory, self._now_us)
            cost = self._purses.cost(rules.payer, hold.row, self._memory.prices)
            if (available := self._purses.balances[rules.payer].available) < cost:
                reset_us = MONTH.end(self._now_us)
                return NoCredits(rules.payer, available, cost, reset_us), limits
        result = reserve(limits, self._counters, one.need, self._now_us)
        if not isinstance(result, Grant):
            return result, limits
        if rules.payer is not None and cost:
            hold.payer, hold.credits = rules.payer, cost
            self._purses.reserve(rules.payer, cost, hold.row.request_id)
        if result.holds or hold.credits:
            one.part = hold.next_id
            self._reservations.append((hold, one.part, result))
        return result, limits

    def _settle_part(
        self, hold: Hold, amounts: Sequence[tuple[Limit, int]], *, is_first: bool
    ) -> None:
        # the tokens of a request count once, in its first part
        tokens = (hold.tokens if is_first else 0) if hold.started else None
        if hold.is_unwritten:
            if not hold.started:
                return  # nothing of it is in the counters yet
            # taken first: a rate that has drained must count it from now on, and not from then
            for limit, amount in amounts:
                take(limit, self._counters[limit.key], amount, self._now_us)
        settle_all(amounts, self._counters, tokens, self._now_us)

    def _charge(self, hold: Hold) -> None:
        row = hold.row
        if hold.payer is not None and hold.credits and (hold.started or not hold.is_unwritten):
            row.credits = hold.cost if hold.started else 0
            self._purses.settle(hold.payer, hold.credits, row.credits, row.request_id)
        if hold.started:
            price = price_of(self._memory.prices, row.model, row.upstream, row.started_us)
            # an answer from the cache that is free costs no money, whatever a request costs
            free = row.upstream == CACHE and not hold.tokens
            row.price = 0 if free else price.cost(row.usage, row.images)
            self._usage.append(row)
            hold.is_charged = True


def _is_mine(hold: Hold, taken: Set[str], known: Set[str]) -> bool:
    """A request that reserved nothing, or only in memory, is nobody else's."""
    if hold.parts and not hold.is_unwritten:
        return hold.first_id in taken
    return hold.row.request_id not in known
