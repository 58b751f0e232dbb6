"""What running requests have reserved, and which gateways are alive, as they are stored."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from frontend.store.ledger.transaction import Transaction
from frontend.store.tables import gateways, reservations


@dataclass(slots=True)
class ReservationRow:
    """What a request has reserved. `details` is what `accounts` needs to settle it."""

    request_id: str
    gateway_id: str
    owner: tuple[str, str, str, str]
    model: str
    tokens: int
    credits: int
    created_at_us: int
    expires_at_us: int
    details: dict[str, Any]
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Reservations(Transaction):
    """Reservations and gateways in one transaction."""

    def add_reservations(self, rows: Sequence[ReservationRow]) -> None:
        """New reservations; the ids are unique."""
        if rows:
            self.connection.execute(_ADD, [_reservation_values(r) for r in rows])

    def flush(self, counts: Iterable[tuple[str, int, int]]) -> None:
        """(request id, prompt tokens, completion tokens) so far."""
        names = ("id", "prompt_tokens", "completion_tokens")
        values = [dict(zip(names, one, strict=True)) for one in sorted(counts)]
        if values:
            self.connection.execute(_FLUSH, values)

    def take_reservations(self, request_ids: Collection[str]) -> set[str]:
        """Removes reservations; the ids of those that were still there."""
        return {row[0] for row in self.of_many(_TAKE, request_ids)}

    def existing_reservations(self, request_ids: Collection[str]) -> set[str]:
        """Those of the reservations that are there."""
        return {row[0] for row in self.of_many(_EXISTING, request_ids)}

    def take_abandoned(self, now_us: int, most: int) -> list[ReservationRow]:
        """Removes reservations that are over: of dead gateways, or beyond their deadline."""
        statement = (
            select(reservations)
            .outerjoin(gateways, gateways.c.id == reservations.c.gateway_id)
            .where(
                (reservations.c.expires_at_us < now_us)
                | gateways.c.id.is_(None)
                | (gateways.c.expires_at_us < now_us)
            )
            .order_by(reservations.c.request_id)
            .limit(most)
            .with_for_update(skip_locked=True, of=reservations)
        )
        # in two steps, because PostgreSQL has neither a limit nor a lock mode in DELETE
        rows = [_reservation_of(row) for row in self.connection.execute(statement)]
        taken = self.take_reservations([row.request_id for row in rows])
        return [row for row in rows if row.request_id in taken]

    def renew_gateway(self, gateway_id: str, now_us: int, until_us: int) -> int:
        """Renews a gateway's lease and removes those that ended long ago; how many are alive."""
        values = {"id": gateway_id, "started_at_us": now_us, "expires_at_us": until_us}
        statement = self.insert(gateways).on_conflict_do_update(
            index_elements=["id"], set_={"expires_at_us": until_us}
        )
        self.connection.execute(statement, values)
        expired = gateways.c.expires_at_us < now_us - 3600 * 1_000_000
        # not those that another one removes or renews just now: each would wait for the other
        old = select(gateways.c.id).where(expired).with_for_update(skip_locked=True)
        self.connection.execute(delete(gateways).where(gateways.c.id.in_(old)))
        return self.count_gateways(now_us)

    def count_gateways(self, now_us: int) -> int:
        """How many gateways are alive."""
        return len(self.connection.execute(_ALIVE, {"now_us": now_us}).all())

    def end_gateway(self, gateway_id: str) -> None:
        """Ends a lease: the gateway has settled everything."""
        self.connection.execute(delete(gateways).where(gateways.c.id == gateway_id))


# statements are made once: for a few rows, that costs more than to execute them
_ALIVE = select(gateways.c.id).where(gateways.c.expires_at_us >= bindparam("now_us"))
_AMONG = reservations.c.request_id.in_(bindparam("ids", expanding=True))
_TAKE = delete(reservations).where(_AMONG).returning(reservations.c.request_id)
_EXISTING = select(reservations.c.request_id).where(_AMONG)
_ADD = reservations.insert()
_FLUSH = (
    update(reservations)
    .where(reservations.c.request_id == bindparam("id"))
    .values(
        prompt_tokens=bindparam("prompt_tokens"), completion_tokens=bindparam("completion_tokens")
    )
)


def _reservation_values(row: ReservationRow) -> dict[str, Any]:
    organisation, group, user, key = row.owner
    return {
        "request_id": row.request_id,
        "gateway_id": row.gateway_id,
        "organisation_id": organisation,
        "group_id": group,
        "user_id": user,
        "key_id": key,
        "model": row.model,
        "details": row.details,
        "tokens": row.tokens,
        "credits_micro": row.credits,
        "created_at_us": row.created_at_us,
        "expires_at_us": row.expires_at_us,
    }


def _reservation_of(row: Any) -> ReservationRow:
    return ReservationRow(
        row.request_id,
        row.gateway_id,
        (row.organisation_id, row.group_id, row.user_id, row.key_id),
        row.model,
        row.tokens,
        row.credits_micro,
        row.created_at_us,
        row.expires_at_us,
        row.details,
        row.prompt_tokens,
        row.completion_tokens,
    )
