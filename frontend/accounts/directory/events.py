"""The history of changes of accounts: read, never edited."""

from dataclasses import dataclass

from frontend.accounts.directory.change import Changes
from frontend.domain.accounts import AdminEvent
from frontend.store import accounts as store
from frontend.store.records import Range


@dataclass(frozen=True, slots=True)
class Events:
    """Reads who changed what."""

    changes: Changes

    async def page(self, range_: Range, **filters: str) -> list[AdminEvent]:
        """One page, oldest first. `filters`: `actor_id`, `target_id`, `action`."""
        async with self.changes.database.connect() as rows:
            return await store.EVENTS.page(rows, range_, **filters)
