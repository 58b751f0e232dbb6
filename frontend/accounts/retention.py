"""Reads how long the audit keeps the records of each group, and writes events about removals."""

from collections.abc import Callable
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Changes
from frontend.accounts.directory.groups import Groups
from frontend.store.records import Range

_GATEWAY = Actor("gateway", "gateway", frozenset())
_PAGE = 500


async def retention_of(groups: Groups, default_days: int) -> Callable[[str], int]:
    """The days that records are kept, by the group's id. Raises StoreUnavailable while the database
    cannot be reached."""
    days: dict[str, int] = {}
    after = ""
    while page := await groups.page(Range(_PAGE, after)):
        days |= {one.id: one.audit_days for one in page if one.audit_days is not None}
        after = page[-1].id
    return lambda group_id: days.get(group_id, default_days)


async def write_purge(changes: Changes, group_id: str, details: dict[str, Any]) -> None:
    """Adds an event to the chain. Raises StoreUnavailable while the database cannot be reached."""
    async with changes.begin(_GATEWAY, "audit.purge") as change:
        change.note("group", group_id or "none", **details)
