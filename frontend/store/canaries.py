"""Canaries: their rows, and what each gateway saw of their targets lately."""

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from frontend.domain.canaries import Canary, Result
from frontend.store.records import Records, Rows
from frontend.store.tables import canaries, canary_results

CANARIES = Records(canaries, Canary, "canary")
_t = canary_results


async def report(rows: Rows, gateway_id: str, results: Iterable[Result], now_us: int) -> None:
    """Stores what a gateway saw, in place of what it had stored before."""
    insert = sqlite.insert if rows.dialect.name == "sqlite" else postgresql.insert
    for result in results:
        values = {**asdict(result), "at_us": now_us}
        first = insert(_t).values(gateway_id=gateway_id, **values)
        keys = ["gateway_id", "canary_id", "target"]
        await rows.execute(first.on_conflict_do_update(index_elements=keys, set_=values))


async def forget_reports(rows: Rows, before_us: int) -> None:
    """Removes what was stored before a moment: of gateways that ended, and of deleted canaries."""
    await rows.execute(_t.delete().where(_t.c.at_us < before_us))


async def read_reports(rows: Rows, besides: str, since_us: int) -> list[Result]:
    """The results of all gateways except one, added up."""
    what = _t.c.canary_id, _t.c.target, _t.c.revision_us
    counts = _t.c.requests, _t.c.errors, _t.c.answers, _t.c.first_token_us
    sums = [func.sum(one) for one in counts]
    query = select(*what, *sums).where(_t.c.gateway_id != besides, _t.c.at_us >= since_us)
    found = await rows.execute(query.group_by(*what))
    return [Result(*row[:3], *map(int, row[3:])) for row in found]
