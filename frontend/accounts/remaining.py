"""The remaining amounts of callers' limits, for headers and pages.

Values that were read less than a second ago are shown again; older ones may have changed. They are
only shown: a request is granted by what its transaction reads.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from frontend.accounts.batch import MANY
from frontend.accounts.clock import Clock
from frontend.accounts.limits import left, reset_us, take
from frontend.accounts.memory import Memory, merged, rates_of, read_limits, read_rates
from frontend.accounts.quick import Quick
from frontend.accounts.shared import Shared
from frontend.accounts.statement import Holding, read_holdings
from frontend.accounts.windows import SECOND_US, iso
from frontend.domain.metering import Owner, Rates
from frontend.errors import StoreUnavailable
from frontend.store.ledger.books import LedgerStore

RATES_US = SECOND_US


@dataclass(slots=True)
class Remaining:
    """The cached values of one process."""

    store: LedgerStore
    memory: Memory
    quick: Quick
    clock: Clock
    shared: Shared | None
    _rates: dict[Owner, Rates] = field(default_factory=dict)
    _shared_rates: dict[Owner, Rates] = field(default_factory=dict)

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
        now_us = self.clock()
        if (rates := self.rates(owner)) is not None or self.memory.is_unlimited(owner, now_us):
            return rates

        with suppress(StoreUnavailable):
            rates = await self.store.read(
                lambda books: read_rates(books, self.memory, owner, now_us)
            )
            self.remember(owner, rates)
            if self.shared is not None:
                limits = self.memory.rules[owner][1].shared_for("")
                counters = await self.shared.read(limits)
                self.remember_shared(owner, rates_of(limits, counters, self.clock()))
        pair = self._rates.get(owner), self._shared_rates.get(owner)
        known = [one for one in pair if one is not None]
        return merged(*known) if known else None

    async def limits(self, owner: Owner) -> list[dict[str, Any]]:
        """A caller's limits with what is used and left of them. Raises StoreUnavailable while the
        database cannot be reached."""
        now_us = self.clock()
        # before the database is read: what is written meanwhile must not be missing in both
        taken = self.quick.unwritten()
        pairs = await self.store.read(lambda books: read_limits(books, self.memory, owner, now_us))
        for limit, counter in pairs:
            take(limit, counter, taken.get(limit.key, 0), now_us)
        if self.shared is not None:
            shared = self.memory.rules[owner][1].shared
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

    async def credits(self, owner: Owner) -> Sequence[Holding]:
        """The credits that a caller may use. Raises StoreUnavailable while the database cannot be
        reached."""
        now_us = self.clock()
        return await self.store.read(lambda books: read_holdings(books, owner, now_us))

    def remember_shared(self, owner: Owner, rates: Rates) -> None:
        """Stores values that Redis has just returned."""
        if len(self._shared_rates) > MANY:
            self._shared_rates.clear()
        self._shared_rates[owner] = rates

    def remember(self, owner: Owner, rates: Rates) -> None:
        """Stores values that the database has just returned."""
        if len(self._rates) > MANY:
            self._rates.clear()
        self._rates[owner] = rates
