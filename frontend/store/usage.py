"""Usage: a row for each request, and the sums of each UTC hour, written in the same transaction.

So the sums are exactly those of the rows. Reading uses the sums alone, and pages by their key.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import select

from frontend.domain.ids import new_id
from frontend.domain.metering import UsageRow
from frontend.store.ledger import Books
from frontend.store.tables import usage, usage_hourly

_HOUR_US = 3_600_000_000
SUMS = (
    "requests",
    "failures",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "credits_micro",
    "price_micro",
    "duration_us",
)
OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
KEY = ("hour_at_us", *OWNERS, "model")


def add_usage(books: Books, rows: Sequence[UsageRow]) -> None:
    """Writes rows that are not there yet, and adds them to their hours."""
    if not rows:
        return
    values = [_values(row) for row in rows]
    books.connection.execute(usage.insert(), values)
    statement = books.insert(usage_hourly)
    sums = {name: usage_hourly.c[name] + statement.excluded[name] for name in SUMS}
    statement = statement.on_conflict_do_update(index_elements=list(KEY), set_=sums)
    books.connection.execute(statement, _hours(values))


def existing(books: Books, request_ids: Collection[str]) -> set[str]:
    """Those of the requests that have a row."""
    ids = list(request_ids)
    statement = select(usage.c.request_id).where(usage.c.request_id.in_(ids))
    return {row[0] for row in books.connection.execute(statement)}


def _values(row: UsageRow) -> dict[str, Any]:
    owner, used = row.owner, row.usage
    return {
        "id": new_id(),
        "request_id": row.request_id,
        "organisation_id": owner.organisation,
        "group_id": owner.group,
        "user_id": owner.user,
        "key_id": owner.key,
        "model": row.model,
        "dialect": row.dialect,
        "endpoint": row.endpoint,
        "upstream": row.upstream,
        "status": row.status,
        "estimated": row.estimated,
        "prompt_tokens": used.prompt_tokens,
        "cached_tokens": used.cached_tokens,
        "completion_tokens": used.completion_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "images": row.images,
        "credits_micro": row.credits,
        "price_micro": row.price,
        "duration_us": row.duration_us,
        "started_at_us": row.started_us,
    }


def _hours(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One sum for each hour, owner and model; in order, so that two gateways do not deadlock."""
    hours: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        hour_us = row["started_at_us"] - row["started_at_us"] % _HOUR_US
        key = (hour_us, *(row[name] for name in OWNERS), row["model"])
        sums = hours.setdefault(key, dict(zip(KEY, key, strict=True)) | dict.fromkeys(SUMS, 0))
        sums["requests"] += 1
        sums["failures"] += row["status"] >= 400
        for name in SUMS[2:]:
            sums[name] += row[name]
    return [hours[key] for key in sorted(hours)]
