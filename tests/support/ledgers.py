"""Ledgers over a real database, a clock that a test sets, and what the tables say in the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from sqlalchemy import func, select

from frontend.accounts.clock import Clock
from frontend.accounts.holds import Hold
from frontend.accounts.ledger import Ledger
from frontend.accounts.quotas import Grant, Need
from frontend.accounts.shared import Shared
from frontend.domain.ids import new_id
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.store.database import Database
from frontend.store.ledger.books import LedgerStore
from frontend.store.rollups import COLUMNS, HOUR_US, SUMS, VIEWS
from frontend.store.tables import (
    counters,
    credit_accounts,
    credit_entries,
    quotas,
    reservations,
    subscriptions,
    usage,
    usage_hourly,
    usage_rollups,
)
from tests.support.processes import PATIENCE_S

NOW_US = 1_795_729_800_000_000
"""2026-11-26 21:50 UTC."""
ADA = Owner("org", "team", "ada", "key-1")


@dataclass
class SetClock(Clock):
    """A clock that stands until it is moved."""

    now_us: int = NOW_US

    def __call__(self) -> int:
        return self.now_us


@dataclass
class Charged:
    """What was charged, as metrics see it."""

    rows: list[UsageRow] = field(default_factory=list)
    lost: int = 0

    def lose(self) -> None:
        self.lost += 1


@asynccontextmanager
async def ledger_of(
    database: Database,
    clock: Clock | None = None,
    charged: Charged | None = None,
    *,
    folder: Path | None = None,
    shared: Shared | None = None,
    **more: int,
) -> AsyncIterator[Ledger]:
    """A running ledger of one gateway."""
    seen, scratch = charged or Charged(), TemporaryDirectory()
    options: dict[str, int] = {"default_tokens": 0, "max_refused": 10_000, **more}
    ledger = Ledger(
        LedgerStore(database),
        charged=seen.rows.append,
        lost=seen.lose,
        clock=clock or SetClock(),
        folder=folder or Path(scratch.name),
        shared=shared,
        **options,
    )
    # a gateway ends although its database is slow, and leaves the rest to its journal
    with scratch, patch("frontend.accounts.writer._END_S", PATIENCE_S):
        async with ledger.running():
            yield ledger


def hold_of(owner: Owner = ADA, model: str = "m", now_us: int = NOW_US) -> Hold:
    """A request that has just come."""
    row = UsageRow(new_id(), owner, model, "openai", "/v1/chat/completions", "triton", now_us)
    return Hold(row, now_us + 60_000_000)


def used(hold: Hold, prompt: int, completion: int = 0) -> Hold:
    """The same, after a model has answered."""
    hold.started = True
    hold.row.usage = Usage(prompt, completion_tokens=completion)
    hold.row.status = 200
    return hold


async def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for what another task does; the test's own time limit ends it."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def reserve(ledger: Ledger, prompt: int = 10, output: int = 20, **more: Any) -> Hold:
    """A request that is granted what it needs."""
    hold = hold_of(**more)
    answer = await ledger.reserve(hold, Need(prompt, output, min(output, 1)))
    assert isinstance(answer, Grant)
    return hold


async def drained(ledger: Ledger) -> None:
    """Waits until everything that was settled is written."""
    await wait_until(lambda: not (ledger.backlog or ledger._writer._turn.locked()))


async def add_quota(
    database: Database, measure: str, period: str, amount: int, **more: Any
) -> None:
    """A quota of the user `ada`, or of another scope."""
    row = {
        "id": new_id(), "scope_kind": "user", "scope_id": "ada", "model": "", "measure": measure,
        "period": period, "amount": amount, "created_at_us": NOW_US, **more,
    }  # fmt: skip
    async with database.begin() as connection:
        await connection.execute(quotas.insert(), row)


async def rows_of(database: Database, table: Any) -> list[Any]:
    """All rows of a table."""
    async with database.connect() as connection:
        return [*(await connection.execute(select(table))).all()]


async def subscribe(database: Database, plan: str, kind: str = "user", whose: str = "ada") -> None:
    """A subscription whose first period begins with the first transaction."""
    row = {"id": f"s-{whose}", "scope_kind": kind, "scope_id": whose, "plan_id": plan}
    row |= dict.fromkeys(("started_at_us", "period_starts_at_us", "period_ends_at_us"), 0)
    async with database.begin() as connection:
        await connection.execute(subscriptions.insert(), row)


async def credits_of(database: Database) -> dict[str, int]:
    """Credits by account, where there is one holder."""
    rows = await rows_of(database, credit_accounts)
    return {row.name: row.balance_micro // 1_000_000 for row in rows}


async def counted(database: Database) -> dict[tuple[str, str, str], tuple[int, int]]:
    """(used, reserved) by scope, measure and period."""
    return {
        (row.scope_kind, row.measure, row.period): (row.used, row.reserved)
        for row in await rows_of(database, counters)
    }


async def check_books(database: Database) -> dict[str, int]:
    """Nothing is reserved, hours and views add up to rows, credits to 0. The sums of all rows."""
    assert not await rows_of(database, reservations)
    assert all(row.reserved == 0 for row in await rows_of(database, counters))
    await check_views(database)
    async with database.connect() as connection:
        columns = [func.coalesce(func.sum(usage_hourly.c[name]), 0) for name in SUMS]
        sums = [int(one) for one in (await connection.execute(select(*columns))).one()]
        for column in (credit_entries.c.amount_micro, credit_accounts.c.balance_micro):
            total = (await connection.execute(select(func.coalesce(func.sum(column), 0)))).scalar()
            assert total == 0
    for row in await rows_of(database, credit_accounts):
        assert row.balance_micro == sum(
            one.amount_micro for one in await rows_of(database, credit_entries)
            if one.account_id == row.id
        )  # fmt: skip
        assert row.balance_micro >= 0 or row.name == "granted"
    return dict(zip(SUMS, sums, strict=True))


async def check_views(database: Database) -> None:
    """Hours and every view have exactly the sums of the rows, for each time and owner."""
    rows = [row._asdict() for row in await rows_of(database, usage)]
    hours = [row._asdict() for row in await rows_of(database, usage_hourly)]
    assert _by(hours, COLUMNS, lambda one: one["hour_at_us"]) == _by(rows, COLUMNS, _at(HOUR_US))
    kept = [row._asdict() for row in await rows_of(database, usage_rollups)]
    for view in VIEWS:
        mine = [one for one in kept if one["view"] == view.number]
        found = _by(mine, COLUMNS, lambda one: one["at_us"])
        assert found == _by(rows, view.columns, _at(view.step_us)), view
    assert {one["view"] for one in kept} <= {view.number for view in VIEWS}


def _at(step_us: int) -> Callable[[dict[str, Any]], int]:
    return lambda one: one["started_at_us"] // step_us * step_us


def _by(
    rows: list[dict[str, Any]], columns: Sequence[str], at: Callable[[dict[str, Any]], int]
) -> dict[tuple[Any, ...], list[int]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for one in rows:
        key = (at(one), *(one[name] if name in columns else "" for name in COLUMNS))
        own = {"requests": 1, "failures": one.get("status", 0) >= 400}
        values = [int(one.get(name, own.get(name, 0))) for name in SUMS]
        sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(SUMS)), values, strict=True)]
    return sums
