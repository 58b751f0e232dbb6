"""1,000 random sequences of reserve, settle and refund on each database: total = left + used."""

import asyncio
import random
from dataclasses import dataclass, field

from frontend.accounts.holds import Hold
from frontend.accounts.ledger import Ledger
from frontend.accounts.quotas import Grant, Need
from frontend.domain.metering import Owner
from frontend.errors import QuotaExceeded, RateLimited
from frontend.store.database import Database
from frontend.store.tables import counters, usage
from tests.support.ledgers import add_quota, check_books, hold_of, ledger_of, rows_of, used

_SEQUENCES = 1000
_AT_ONCE = 100
_TEAM_TOKENS = 10**9
_SLOTS = 3


@dataclass
class Sequence:
    """One user's requests, one after another, and what the budget must be after each."""

    number: int
    used: int = 0
    rows: int = 0
    running: list[tuple[Hold, int, int]] = field(default_factory=list)
    """With the tokens that each holds, of its prompt and in all."""

    def __post_init__(self) -> None:
        self.dice = random.Random(self.number)
        self.budget = self.dice.randrange(50, 2000)
        self.owner = Owner("org", "team", f"u{self.number}", f"k{self.number}")

    @property
    def left(self) -> int:
        """Of the budget, by this side's own sums."""
        return self.budget - self.used - sum(held for _, _, held in self.running)

    async def reserve(self, ledger: Ledger) -> None:
        """A new request, or more for one that runs; refused exactly when it does not fit."""
        prompt, output = self.dice.randrange(0, 300), self.dice.randrange(1, 600)
        more = self.dice.randrange(4) == 0 and bool(self.running)
        hold = self.running[-1][0] if more else hold_of(self.owner)
        need = Need(prompt, output, 1, requests=0 if more else 1)
        try:
            answer = await ledger.reserve(hold, need)
        except QuotaExceeded:
            assert prompt + 1 > self.left
        except RateLimited:
            assert not more
            assert len(self.running) == _SLOTS
        else:
            assert isinstance(answer, Grant)
            assert answer.output == min(output, self.left - prompt)
            held = prompt + answer.output
            if more:
                hold, before, already = self.running.pop()
                prompt, held = prompt + before, held + already
            self.running.append((hold, prompt, held))

    def end(self, ledger: Ledger) -> None:
        """A request that was answered, failed on the way, or never ran."""
        hold, prompt, held = self.running.pop(self.dice.randrange(len(self.running)))
        how = self.dice.choice(("answered", "failed", "refunded"))
        if how != "refunded":
            tokens = held - prompt if how == "answered" else self.dice.randrange(held - prompt + 1)
            used(hold, prompt, tokens)
            self.used, self.rows = self.used + prompt + tokens, self.rows + 1
        ledger.settle(hold)
        if self.dice.randrange(3) == 0:
            ledger.settle(hold)  # a second time changes nothing

    async def play(self, ledger: Ledger) -> None:
        """All of its steps."""
        for _ in range(self.dice.randrange(1, 12)):
            if self.running and self.dice.randrange(2):
                self.end(ledger)
            else:
                await self.reserve(ledger)
            assert self.left >= 0
        if self.number % 20 == 0:
            await self.check(ledger)
        while self.running:
            self.end(ledger)

    async def check(self, ledger: Ledger) -> None:
        """What callers are shown, in the middle of it."""
        # its transaction has the settles before it
        await self.reserve(ledger)
        (shown,) = [
            one
            for one in await ledger.remaining.limits(self.owner)
            if (one["scope_kind"], one["measure"]) == ("user", "tokens")
        ]
        held = self.budget - self.used - self.left
        assert (shown["used"], shown["reserved"], shown["left"]) == (self.used, held, self.left)


async def test_total_is_remaining_and_used_after_1000_sequences(database: Database) -> None:
    sequences = [Sequence(number) for number in range(_SEQUENCES)]
    await add_quota(database, "tokens", "month", _TEAM_TOKENS, scope_kind="group", scope_id="team")
    for one in sequences:
        await add_quota(database, "tokens", "month", one.budget, scope_id=one.owner.user)
        await add_quota(database, "concurrency", "none", _SLOTS, scope_id=one.owner.user)
    places = asyncio.Semaphore(_AT_ONCE)
    async with ledger_of(database) as first, ledger_of(database) as second:

        async def play(one: Sequence) -> None:
            async with places:
                await one.play((first, second)[one.number % 2])

        await asyncio.gather(*map(play, sequences))
    sums = await check_books(database)
    spent = {
        (row.scope_kind, row.scope_id): (row.used, row.reserved)
        for row in await rows_of(database, counters)
        if row.measure == "tokens"
    }
    for one in sequences:
        assert spent.get(("user", one.owner.user), (0, 0)) == (one.used, 0)
    total = sum(one.used for one in sequences)
    assert spent["group", "team"] == (total, 0)
    assert sums["prompt_tokens"] + sums["completion_tokens"] == total
    assert (
        sums["requests"]
        == sum(one.rows for one in sequences)
        == len({row.request_id for row in await rows_of(database, usage)})
    )
