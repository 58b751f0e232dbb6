"""Minutes in which models answered: a row for each hour, a bit for each minute.

Several gateways write the same rows. What is older than 90 days is removed.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from frontend.store.database import Database
from frontend.store.tables import uptime

HOUR_US, MINUTE_US = 3_600_000_000, 60_000_000
KEPT_HOURS = 90 * 24
_t = uptime


@dataclass(frozen=True, slots=True)
class Hour:
    """Bit n of a number stands for minute n."""

    hour_us: int
    checked: int
    ready: int


@dataclass(frozen=True, slots=True)
class UptimeStore:
    """The history of one database."""

    database: Database

    async def note(self, now_us: int, *, ready: bool) -> None:
        """Notes this minute: checked, and ready if any gateway was. Raises StoreUnavailable while
        the database cannot be reached."""
        hour_us = now_us - now_us % HOUR_US
        bit = 1 << ((now_us - hour_us) // MINUTE_US)
        row = {"hour_us": hour_us, "checked": bit, "ready": bit * ready}
        async with self.database.begin() as rows:
            # SQLAlchemy has upserts only in its dialects
            insert = sqlite.insert if rows.dialect.name == "sqlite" else postgresql.insert
            first = insert(_t).values(row)
            more = {
                "checked": _t.c.checked.op("|")(row["checked"]),
                "ready": _t.c.ready.op("|")(row["ready"]),
            }
            await rows.execute(first.on_conflict_do_update(index_elements=["hour_us"], set_=more))
            await rows.execute(_t.delete().where(_t.c.hour_us < hour_us - KEPT_HOURS * HOUR_US))

    async def read(self) -> list[Hour]:
        """All hours, the oldest first. Raises StoreUnavailable while the database cannot be
        reached."""
        columns = _t.c.hour_us, _t.c.checked, _t.c.ready
        async with self.database.connect() as rows:
            found = await rows.execute(select(*columns).order_by(_t.c.hour_us))
            return [Hour(*row) for row in found]
