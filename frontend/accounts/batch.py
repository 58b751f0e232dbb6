"""Many requests' reserves and settles in one transaction, as if one after another.

Settles come first, so that what they free is there for the reserves. Nothing is decided outside the
transaction, and nothing is waited for inside it, so its locks are short.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from frontend.accounts import credits
from frontend.accounts.credits import Balance, Reason, Transfer, transfer
from frontend.accounts.holds import Hold, hold_of, reservation_row
from frontend.accounts.limits import (
    Counter,
    Key,
    Limit,
    Measure,
    left,
    reset_us,
    roll,
    settle,
    take,
)
from frontend.accounts.plans import Plan, Subscription, renew
from frontend.accounts.prices import Price, price_of
from frontend.accounts.quotas import Grant, Need, Refusal, Tight, reserve, settle_all
from frontend.accounts.rules import Rules, rules_of, scopes_of
from frontend.accounts.windows import parse_window
from frontend.domain.metering import Owner, Rate, Rates, UsageRow
from frontend.store.ledger import Books, CounterRow, PlanRow, SubscriptionRow, TransferRow
from frontend.store.usage import add_usage, existing

RULES_US = 700_000
"""How long rules and prices are used before they are read again: below the second within which
every process must know of a change."""
_MONTH = parse_window("month")
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
    """A request that asks. `answer` is there after the transaction."""

    hold: Hold
    need: Need
    granted: Grant | None = None
    """It was granted already, and is only written down."""
    answer: Answer | None = None
    part: str = ""
    """The id of the reservation, if there is one."""
    rates: Rates | None = None


@dataclass(slots=True)
class Batch:
    """What one transaction does."""

    reserves: list[Reserve] = field(default_factory=list)
    settles: list[Hold] = field(default_factory=list)
    flushes: list[Hold] = field(default_factory=list)
    is_repeated: bool = False
    """The last attempt may have been committed, although its connection was lost."""


@dataclass(slots=True)
class Memory:
    """What one process remembers between transactions. Losing it loses nothing."""

    gateway_id: str
    default_tokens: int
    rules: dict[Owner, tuple[int, Rules]] = field(default_factory=dict)
    counters: dict[Key, Counter] = field(default_factory=dict)
    read_us: dict[Key, int] = field(default_factory=dict)
    prices: list[Price] = field(default_factory=list)
    prices_read_us: int = -(10**18)
    has_redis: bool = False

    def rules_for(self, owner: Owner, now_us: int) -> Rules | None:
        """None: they have to be read."""
        read_us, rules = self.rules.get(owner, (-(10**18), None))
        return rules if now_us - read_us < RULES_US else None


def apply(books: Books, batch: Batch, memory: Memory, now_us: int) -> None:
    """The transaction. The answers are in the reserves afterwards."""
    _Work(books, memory, now_us).run(batch)


def sweep(books: Books, memory: Memory, now_us: int) -> list[Hold]:
    """Settles some of what dead gateways, and requests beyond their deadline, had reserved."""
    holds = [hold_of(row, now_us) for row in books.take_abandoned(now_us, _ABANDONED)]
    work = _Work(books, memory, now_us)
    # `take_abandoned` has removed their rows, so all of them count as taken
    work.settle(holds, {hold.row.request_id for hold in holds}, ())
    work.save()
    return holds


class _Work:
    """One transaction."""

    def __init__(self, books: Books, memory: Memory, now_us: int) -> None:
        self._books = books
        self._memory = memory
        self._now_us = now_us
        self._counters: dict[Key, Counter] = {}
        self._accounts: dict[tuple[str, str], dict[str, tuple[str, int]]] = {}
        self._balances: dict[tuple[str, str], Balance] = {}
        self._subscriptions: dict[tuple[str, str], SubscriptionRow] = {}
        self._transfers: list[TransferRow] = []
        self._reservations: list[tuple[Hold, str, Grant]] = []
        self._usage: list[UsageRow] = []

    def run(self, batch: Batch) -> None:
        """All of a batch."""
        if batch.is_repeated:
            self._drop_written(batch)
        ids = [part for hold in batch.settles for part in hold.parts if not hold.is_unwritten]
        taken = self._books.take_reservations(ids) if ids else set()
        known: set[str] = set()
        if batch.is_repeated and batch.settles:
            # a hold without a reservation does not have a row whose removal shows who charged it
            known = existing(self._books, [hold.row.request_id for hold in batch.settles])
        # before the locks: the rules say which counters are needed
        self._read_rules(batch.reserves)
        self.settle(batch.settles, taken, batch.reserves, known)
        # after the settles, so that what these have freed can be reserved
        for one in batch.reserves:
            one.answer, limits = self._reserve(one)
            one.rates = rates_of(limits, self._counters, self._now_us)
        self.save()
        self._books.flush(
            (one.row.request_id, one.row.usage.prompt_tokens, one.row.usage.completion_tokens)
            for one in batch.flushes
        )

    def _drop_written(self, batch: Batch) -> None:
        """Leaves out what the attempt before has committed after all."""
        written = self._books.existing_reservations([one.part for one in batch.reserves])
        batch.reserves = [one for one in batch.reserves if one.part not in written]
        for hold in batch.settles:
            if hold.is_unwritten and not hold.is_offline:
                hold.is_unwritten = not self._books.existing_reservations([*hold.parts])

    def settle(
        self,
        holds: Sequence[Hold],
        taken: Set[str],
        reserves: Sequence[Reserve],
        known: Set[str] = frozenset(),
    ) -> None:
        """Charges every hold once: one whose row was not taken was charged by somebody else."""
        mine = [hold for hold in holds if _is_mine(hold, taken, known)]
        self._lock(holds, taken, reserves)
        if any(hold.started for hold in mine):
            self._read_prices()
        for hold in holds:
            for part, amounts in hold.parts.items():
                if part in taken or (hold.is_unwritten and hold in mine):
                    self._settle_part(hold, amounts, is_first=part == hold.row.request_id)
        for hold in mine:
            self._charge(hold)

    def save(self) -> None:
        """Writes what has changed."""
        books, now_us = self._books, self._now_us
        books.save_counters((key, _row_of(counter)) for key, counter in self._counters.items())
        books.add_reservations(
            [
                reservation_row(hold, request_id, grant.holds, self._memory.gateway_id, now_us)
                for hold, request_id, grant in self._reservations
            ]
        )
        books.save_transfers(self._transfers, self._accounts, now_us)
        add_usage(books, self._usage)
        memory = self._memory
        # emptied, not trimmed: what is missing is read with the next transaction
        if len(memory.counters) > MANY:
            memory.counters.clear()
            memory.read_us.clear()
        memory.counters.update(self._counters)
        memory.read_us.update(dict.fromkeys(self._counters, now_us))

    def _lock(self, holds: Sequence[Hold], taken: Set[str], reserves: Sequence[Reserve]) -> None:
        """Every counter and account that the transaction needs, in order and at once."""
        keys = {
            limit.key
            for hold in holds
            for part, amounts in hold.parts.items()
            if part in taken or hold.is_unwritten
            for limit, _ in amounts
        }
        payers = {hold.payer for hold in holds if hold.payer is not None and hold.credits}
        for one in reserves:
            rules = self._rules(one)
            keys |= {limit.key for limit in rules.for_model(one.hold.row.model)}
            if one.granted is not None:
                keys |= {limit.key for limit, _ in one.granted.holds}
            if rules.payer is not None and one.need.requests:
                payers.add(rules.payer)
        rows = self._books.lock_counters(keys)
        self._counters = {key: _counter_of(row) for key, row in rows.items()}
        if payers:
            self._open_accounts(payers)

    def _open_accounts(self, payers: set[tuple[str, str]]) -> None:
        """Locks subscriptions and balances, and begins the periods that are due."""
        books = self._books
        ids = {scope_id for _, scope_id in payers}
        plans = books.plans()
        self._subscriptions = books.subscriptions(ids, plans, lock=True)
        self._accounts = books.lock_balances(payers)
        for payer in payers:
            names = self._accounts[payer]
            self._balances[payer] = Balance(
                *(names[name][1] for name in ("available", "reserved", "spent", "expired"))
            )
            if (row := self._subscriptions.get(payer)) is None:
                continue
            by_name = {plan.name: plan for plan in plans.values()}
            subscription = subscription_of(row)
            if moves := renew(subscription, self._balances[payer], self._now_us):
                self._record(payer, moves, None)
            if subscription.period_start_us != row.period_starts_at_us:
                row.plan, row.next_plan = by_name[subscription.plan.name], None
                row.period_starts_at_us = subscription.period_start_us
                books.save_subscription(row, _MONTH.end(self._now_us))

    def _read_rules(self, reserves: Sequence[Reserve]) -> None:
        memory, now_us = self._memory, self._now_us
        stale = {
            one.hold.row.owner
            for one in reserves
            if memory.rules_for(one.hold.row.owner, now_us) is None
        }
        if not stale:
            return
        # then of the whole batch, since each of them is looked up below
        if len(memory.rules) > MANY:
            memory.rules.clear()
            stale = {one.hold.row.owner for one in reserves}
        read_rules(self._books, memory, stale, now_us)

    def _read_prices(self) -> None:
        memory = self._memory
        if self._now_us - memory.prices_read_us >= RULES_US:
            memory.prices = [
                Price(
                    row.model,
                    row.upstream,
                    row.starts_at_us,
                    row.prompt_micro,
                    row.cached_micro,
                    row.completion_micro,
                    row.image_micro,
                    row.request_micro,
                    row.credits_micro,
                )
                for row in self._books.prices()
            ]
            memory.prices_read_us = self._now_us

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
            self._read_prices()
            cost = self._cost(rules.payer, hold.row)
            if (available := self._balances[rules.payer].available) < cost:
                reset_us = _MONTH.end(self._now_us)
                return NoCredits(rules.payer, available, cost, reset_us), limits
        result = reserve(limits, self._counters, one.need, self._now_us)
        if not isinstance(result, Grant):
            return result, limits
        if rules.payer is not None and cost:
            hold.payer, hold.credits = rules.payer, cost
            move = transfer(self._balances[rules.payer], Reason.RESERVE, cost)
            self._record(rules.payer, [move], hold.row.request_id)
        if result.holds or hold.credits:
            one.part = hold.next_id
            self._reservations.append((hold, one.part, result))
        return result, limits

    def _cost(self, payer: tuple[str, str], row: UsageRow) -> int:
        """Credits of a request; nothing for a payer whose plan is unlimited."""
        subscription = self._subscriptions.get(payer)
        if subscription is None or subscription.plan.credits is None:
            return 0
        prices = self._memory.prices
        return price_of(prices, row.model, row.upstream, self._now_us).credits

    def _settle_part(
        self, hold: Hold, amounts: Sequence[tuple[Limit, int]], *, is_first: bool
    ) -> None:
        # the tokens of a request count once, in its first part
        tokens = (hold.tokens if is_first else 0) if hold.started else None
        if not hold.is_unwritten:
            settle_all(amounts, self._counters, tokens, self._now_us)
        elif hold.started:  # nothing of it is in the counters yet
            for limit, amount in amounts:
                used = {Measure.TOKENS: tokens or 0, Measure.REQUESTS: amount}
                actual = used.get(limit.measure, 0)
                settle(limit, self._counters[limit.key], 0, actual, self._now_us)

    def _charge(self, hold: Hold) -> None:
        row = hold.row
        if hold.payer is not None and hold.credits:
            row.credits = hold.cost if hold.started else 0
            moves = credits.settle(self._balances[hold.payer], hold.credits, row.credits)
            self._record(hold.payer, moves, row.request_id)
        if hold.started:
            price = price_of(self._memory.prices, row.model, row.upstream, row.started_us)
            row.price = price.cost(row.usage, row.images)
            self._usage.append(row)
            hold.is_charged = True

    def _record(
        self, payer: tuple[str, str], moves: Sequence[Transfer], request_id: str | None
    ) -> None:
        self._transfers += [
            TransferRow(payer, move.reason, move.legs, request_id) for move in moves
        ]


def rates_of(limits: Iterable[Limit], counters: Mapping[Key, Counter], now_us: int) -> Rates:
    """For the headers: of requests and of tokens the limit that has the least left."""
    return Rates(
        _tightest(Measure.REQUESTS, limits, counters, now_us),
        _tightest(Measure.TOKENS, limits, counters, now_us),
    )


def merged(one: Rates | None, other: Rates | None) -> Rates | None:
    """Of two the one that has less left, for requests and for tokens."""
    if one is None or other is None:
        return one or other
    pairs = ((one.requests, other.requests), (one.tokens, other.tokens))
    return Rates(*(min((r for r in pair if r), key=_remaining, default=None) for pair in pairs))


def _remaining(rate: Rate) -> int:
    return rate.remaining


def _tightest(
    measure: Measure, limits: Iterable[Limit], counters: Mapping[Key, Counter], now_us: int
) -> Rate | None:
    rates = [
        Rate(limit.amount, max(left(limit, counter, now_us), 0), reset_us(limit, counter, now_us))
        for limit in limits
        if limit.measure is measure
        for counter in (counters[limit.key],)
    ]
    return min(rates, key=lambda one: one.remaining, default=None)


def read_limits(
    books: Books, memory: Memory, owner: Owner, now_us: int
) -> list[tuple[Limit, Counter]]:
    """A caller's limits, those of single models too, with their counters."""
    read_rules(books, memory, [owner], now_us)
    limits = memory.rules[owner][1].limits
    rows = books.read_counters({limit.key for limit in limits})
    pairs = [(limit, _counter_of(rows.get(limit.key, CounterRow()))) for limit in limits]
    for limit, counter in pairs:
        roll(limit, counter, now_us)
    return pairs


def read_rates(books: Books, memory: Memory, owner: Owner, now_us: int) -> Rates:
    """What a caller's limits over all models have left."""
    pairs = [one for one in read_limits(books, memory, owner, now_us) if not one[0].model]
    counters = {limit.key: counter for limit, counter in pairs}
    return rates_of([limit for limit, _ in pairs], counters, now_us)


def read_rules(books: Books, memory: Memory, owners: Iterable[Owner], now_us: int) -> None:
    """Reads the rules of callers into the memory."""
    callers = list(owners)
    ids = {subject for owner in callers for _, subject in scopes_of(owner)}
    quotas = books.quotas(ids)
    subscriptions = books.subscriptions(ids, books.plans())
    for owner in callers:
        rules = rules_of(owner, quotas, subscriptions, memory.default_tokens, now_us)
        memory.rules[owner] = now_us, rules.divided() if memory.has_redis else rules


def subscription_of(row: SubscriptionRow) -> Subscription:
    """A stored subscription for the rules of plans."""
    following = None if row.next_plan is None else plan_of(row.next_plan)
    return Subscription(plan_of(row.plan), row.period_starts_at_us, following)


def plan_of(row: PlanRow) -> Plan:
    """A stored plan for the rules of plans."""
    return Plan(row.name, row.credits, row.shared)


def _is_mine(hold: Hold, taken: Set[str], known: Set[str]) -> bool:
    """A request that reserved nothing, or only in memory, is nobody else's."""
    request_id = hold.row.request_id
    if hold.parts and not hold.is_unwritten:
        return request_id in taken
    return request_id not in known


def _counter_of(row: CounterRow) -> Counter:
    buckets = {int(start_us): used for start_us, used in row.buckets.items()}
    return Counter(row.used, row.reserved, row.starts_at_us, row.next_at_us, buckets)


def _row_of(counter: Counter) -> CounterRow:
    buckets = {str(start_us): used for start_us, used in counter.buckets.items()}
    return CounterRow(counter.used, counter.reserved, counter.start_us, counter.at_us, buckets)
