"""Quotas and their counters, as they are stored. A counter is locked before it is written."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from frontend.store.ledger.transaction import Transaction
from frontend.store.tables import counters, quotas

CounterKey = tuple[str, str, str, str, str]


class QuotaRow(NamedTuple):
    """A rule as it is stored. `model` of "": every model."""

    scope_kind: str
    scope_id: str
    model: str
    measure: str
    period: str
    amount: int
    expires_at_us: int | None


@dataclass(slots=True)
class CounterRow:
    """A counter as it is stored."""

    used: int = 0
    reserved: int = 0
    starts_at_us: int = 0
    next_at_us: int = 0
    buckets: dict[str, int] = field(default_factory=dict)


class Counters(Transaction):
    """Quotas and counters in one transaction."""

    def quotas(self, scope_ids: Collection[str]) -> list[QuotaRow]:
        """Every quota of these subjects."""
        return [QuotaRow._make(row) for row in self.of_many(_QUOTAS, scope_ids)]

    def lock_counters(self, keys: Collection[CounterKey]) -> dict[CounterKey, CounterRow]:
        """The counters, locked; those that do not exist are created."""
        if not keys:
            return {}
        wanted = set(keys)
        held = self._select_counters(wanted)
        if missing := sorted(wanted - held.keys()):
            new: list[dict[str, Any]] = [_counter_key(key) | {"buckets": {}} for key in missing]
            # another process may have created some of them since the look-up
            self.connection.execute(self.insert(counters).on_conflict_do_nothing(), new)
            held = self._select_counters(wanted)  # in order, with what another process has created
        return held

    def read_counters(self, keys: Collection[CounterKey]) -> dict[CounterKey, CounterRow]:
        """The counters that exist, not locked."""
        return self._select_counters(set(keys), lock=False) if keys else {}

    def save_counters(self, rows: Iterable[tuple[CounterKey, CounterRow]]) -> None:
        """Writes counters that are locked."""
        values = [
            {
                **{f"key_{name}": value for name, value in _counter_key(key).items()},
                "used": row.used,
                "reserved": row.reserved,
                "starts_at_us": row.starts_at_us,
                "next_at_us": row.next_at_us,
                "buckets": row.buckets,
            }
            for key, row in sorted(rows, key=lambda item: item[0])
        ]
        if values:
            self.connection.execute(_SAVE_COUNTER, values)

    def _select_counters(
        self, keys: set[CounterKey], *, lock: bool = True
    ) -> dict[CounterKey, CounterRow]:
        ids = {key[1] for key in keys}
        rows = {
            (row.scope_kind, row.scope_id, row.model, row.measure, row.period): CounterRow(
                row.used, row.reserved, row.starts_at_us, row.next_at_us, row.buckets
            )
            for row in self.of_many(_LOCK if lock else _READ, ids)
        }
        return {key: row for key, row in rows.items() if key in keys}


# statements are made once: for a few rows, that costs more than to execute them
_QUOTAS = select(*(quotas.c[name] for name in QuotaRow._fields)).where(
    quotas.c.scope_id.in_(bindparam("ids", expanding=True))
)
_READ = (
    select(counters)
    .where(counters.c.scope_id.in_(bindparam("ids", expanding=True)))
    .order_by(*counters.primary_key.columns)
)
_LOCK = _READ.with_for_update()
_SAVE_COUNTER = (
    update(counters)
    .where(
        *(
            counters.c[name] == bindparam(f"key_{name}")
            for name in ("scope_kind", "scope_id", "model", "measure", "period")
        )
    )
    .values(
        {
            name: bindparam(name)
            for name in ("used", "reserved", "starts_at_us", "next_at_us", "buckets")
        }
    )
)


def _counter_key(key: CounterKey) -> dict[str, str]:
    return dict(zip(("scope_kind", "scope_id", "model", "measure", "period"), key, strict=True))
