"""A process's cache of limits, rules and prices between transactions.

It can be lost: a transaction decides only by what it reads itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter

from frontend.accounts.limits import Counter, Key, Limit, Measure, left, reset_us, roll
from frontend.accounts.plans import Plan, Subscription
from frontend.accounts.prices import Price
from frontend.accounts.rules import Rules, rules_of, scopes_of
from frontend.accounts.windows import SECOND_US
from frontend.domain.metering import Owner, Rate, Rates
from frontend.store.ledger.books import Books
from frontend.store.ledger.counters import CounterRow
from frontend.store.ledger.credits import PlanRow, SubscriptionRow

Payer = tuple[str, str]
"""Kind and id of the scope whose credits are spent."""
LEASE_US = 45 * SECOND_US
"""Of a gateway. With the sweep every 15 s, nothing of a dead one is reserved for more than 75 s."""
RULES_US = 700_000
"""How long rules and prices are used before they are read again: below the second within which
every process must know of a change."""
_AGEING_US = RULES_US // 2
"""From this age on, a transaction that is made anyway reads them again."""
_COUNT_US = RULES_US // 4
"""The same for the number of gateways, which grants from memory need most."""


@dataclass(frozen=True, slots=True)
class Purse:
    """A payer's balance after a transaction that had locked it."""

    available: int
    pays: bool
    """Whether requests cost credits: they do not with an unlimited plan."""
    read_us: int
    until_us: int
    """Until the plan's period ends, or another process may have changed it."""


@dataclass(slots=True)
class Memory:
    """The cached limits, rules and prices of one process."""

    gateway_id: str
    default_tokens: int
    rules: dict[Owner, tuple[int, Rules]] = field(default_factory=dict)
    counters: dict[Key, Counter] = field(default_factory=dict)
    purses: dict[Payer, Purse] = field(default_factory=dict)
    prices: list[Price] = field(default_factory=list)
    prices_read_us: int = -(10**18)
    has_redis: bool = False
    gateways: int = 2
    """How many were alive when that was last read: the careful assumption before."""
    gateways_read_us: int = -(10**18)
    lease_until_us: int = 0

    def is_alone(self, now_us: int) -> bool:
        """Whether no other gateway has begun to serve."""
        return self.gateways == 1 and 0 <= now_us - self.gateways_read_us < RULES_US

    def purse_for(self, payer: Payer, now_us: int) -> Purse | None:
        """The payer's balance; None if it has to be read."""
        purse = self.purses.get(payer)
        return purse if purse is not None and purse.read_us <= now_us < purse.until_us else None

    def has_prices(self, now_us: int) -> bool:
        """Whether the prices are known and current."""
        return now_us - self.prices_read_us < RULES_US

    def is_unlimited(self, owner: Owner, now_us: int) -> bool:
        """Whether it is known that the caller has nothing to reserve."""
        # callers without a key, as in open mode, do not have limits
        if not owner.key:
            return True
        rules = self.rules_for(owner, now_us)
        return rules is not None and rules.is_unlimited

    def rules_for(self, owner: Owner, now_us: int) -> Rules | None:
        """The caller's rules; None if they have to be read."""
        read_us, rules = self.rules.get(owner, (-(10**18), None))
        return rules if now_us - read_us < RULES_US else None

    def is_ageing(self, owner: Owner, now_us: int) -> bool:
        """Whether the caller's rules can still be used, but not for long."""
        read_us, _ = self.rules.get(owner, (-(10**18), None))
        return _AGEING_US <= now_us - read_us < RULES_US


def read_rules(books: Books, memory: Memory, owners: Iterable[Owner], now_us: int) -> None:
    """Reads the rules of callers into the memory."""
    callers = list(owners)
    ids = {subject for owner in callers for _, subject in scopes_of(owner)}
    quotas = books.quotas(ids)
    subscriptions = books.subscriptions(ids, books.plans())
    for owner in callers:
        rules = rules_of(owner, quotas, subscriptions, memory.default_tokens, now_us)
        memory.rules[owner] = now_us, rules.divided() if memory.has_redis else rules


def read_prices(books: Books, memory: Memory, now_us: int) -> None:
    """Reads the price table into the memory, if it is time to."""
    if now_us - memory.prices_read_us < _AGEING_US:
        return
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
        for row in books.prices()
    ]
    memory.prices_read_us = now_us


def read_limits(
    books: Books, memory: Memory, owner: Owner, now_us: int
) -> list[tuple[Limit, Counter]]:
    """A caller's limits, those of single models too, with their counters."""
    read_rules(books, memory, [owner], now_us)
    limits = memory.rules[owner][1].limits
    rows = books.read_counters({limit.key for limit in limits})
    pairs = [(limit, counter_of(rows.get(limit.key, CounterRow()))) for limit in limits]
    for limit, counter in pairs:
        roll(limit, counter, now_us)
    return pairs


def read_rates(books: Books, memory: Memory, owner: Owner, now_us: int) -> Rates:
    """Reads the amounts left of a caller's limits over all models."""
    pairs = [one for one in read_limits(books, memory, owner, now_us) if not one[0].model]
    counters = {limit.key: counter for limit, counter in pairs}
    return rates_of([limit for limit, _ in pairs], counters, now_us)


def rates_of(limits: Iterable[Limit], counters: Mapping[Key, Counter], now_us: int) -> Rates:
    """The limits of requests and of tokens that have the least left, for the headers."""
    return Rates(
        _tightest(Measure.REQUESTS, limits, counters, now_us),
        _tightest(Measure.TOKENS, limits, counters, now_us),
        now_us,
    )


def merged(*several: Rates) -> Rates:
    """Of each kind, the limit that has the least left."""
    requests = [one.requests for one in several if one.requests]
    tokens = [one.tokens for one in several if one.tokens]
    return Rates(
        min(requests, key=_remaining, default=None),
        min(tokens, key=_remaining, default=None),
        min(one.read_us for one in several),
    )


def subscription_of(row: SubscriptionRow) -> Subscription:
    """Converts a stored subscription to one for the rules of plans."""
    following = None if row.next_plan is None else plan_of(row.next_plan)
    return Subscription(plan_of(row.plan), row.period_starts_at_us, following, row.credits)


def plan_of(row: PlanRow) -> Plan:
    """Converts a stored plan to one for the rules of plans."""
    return Plan(row.name, row.credits, row.shared)


def read_gateways(books: Books, memory: Memory, now_us: int) -> None:
    """Counts the gateways, if it is time to. One whose lease has ended renews it first: others may
    have taken it for dead."""
    if memory.lease_until_us < now_us:
        memory.lease_until_us = now_us + LEASE_US
        memory.gateways = books.renew_gateway(memory.gateway_id, now_us, memory.lease_until_us)
    elif now_us - memory.gateways_read_us >= _COUNT_US:
        memory.gateways = books.count_gateways(now_us)
    else:
        return
    memory.gateways_read_us = now_us


def counter_of(row: CounterRow) -> Counter:
    buckets = {int(start_us): used for start_us, used in row.buckets.items()}
    return Counter(row.used, row.reserved, row.starts_at_us, row.next_at_us, buckets)


def row_of(counter: Counter) -> CounterRow:
    buckets = {str(start_us): used for start_us, used in counter.buckets.items()}
    return CounterRow(counter.used, counter.reserved, counter.start_us, counter.at_us, buckets)


def _tightest(
    measure: Measure, limits: Iterable[Limit], counters: Mapping[Key, Counter], now_us: int
) -> Rate | None:
    rates = [
        (max(left(limit, counters[limit.key], now_us), 0), limit)
        for limit in limits
        if limit.measure is measure
    ]
    if not rates:
        return None
    # of several the first one; when it is whole again takes longer to say than what is left
    remaining, limit = min(rates, key=itemgetter(0))
    reset = reset_us(limit, counters[limit.key], now_us)
    return Rate(limit.amount, remaining, reset)


def _remaining(rate: Rate) -> int:
    return rate.remaining
