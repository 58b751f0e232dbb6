"""The ledger's tables within one transaction: quotas, counters, reservations, credits, prices.

Rows in, rows out: what they mean is decided in `accounts`. Locks are always taken in the same
order, reservations before counters before subscriptions before credit accounts, each by its key, so
two gateways never wait for each other.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, Select, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from frontend.domain.ids import new_id
from frontend.store.database import Database
from frontend.store.tables import (
    counters,
    credit_accounts,
    credit_entries,
    credit_transactions,
    gateways,
    plans,
    prices,
    quotas,
    reservations,
    subscriptions,
)

T = TypeVar("T")
Scope = tuple[str, str]
"""Kind and id."""
CounterKey = tuple[str, str, str, str, str]
_MANY = 500
"""Ids in one statement: SQLite's default bound for parameters is much higher."""


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


@dataclass(slots=True)
class PlanRow:
    """A plan as it is stored. `quotas`: lists of measure, window and amount."""

    id: str
    name: str
    credits: int | None
    shared: bool
    quotas: list[list[Any]]


@dataclass(slots=True)
class SubscriptionRow:
    """A subscription that has not ended, with its plans."""

    id: str
    scope: Scope
    plan: PlanRow
    next_plan: PlanRow | None
    period_starts_at_us: int


class TransferRow(NamedTuple):
    """One transaction of credits: the accounts' names and amounts, which add up to 0."""

    scope: Scope
    kind: str
    legs: tuple[tuple[str, int], tuple[str, int]]
    request_id: str | None
    note: str = ""
    created_by: str | None = None


class PriceRow(NamedTuple):
    """A line of the price table."""

    model: str
    upstream: str
    starts_at_us: int
    prompt_micro: int
    cached_micro: int
    completion_micro: int
    image_micro: int
    request_micro: int
    credits_micro: int


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


class LedgerStore:
    """Runs functions in transactions. Raises StoreUnavailable, as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, work: Callable[["Books"], T]) -> T:
        """Commits what the function does, or nothing."""
        async with self._database.begin() as connection:
            return await connection.run_sync(lambda sync: work(Books(sync)))

    async def read(self, work: Callable[["Books"], T]) -> T:
        """For functions that only read."""
        async with self._database.connect() as connection:
            return await connection.run_sync(lambda sync: work(Books(sync)))


class Books:
    """The tables in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        postgres = connection.dialect.name == "postgresql"
        # SQLAlchemy has upserts in its dialects alone
        self.insert: Any = postgresql.insert if postgres else sqlite.insert

    def quotas(self, scope_ids: Collection[str]) -> list[QuotaRow]:
        """Every quota of these subjects."""
        columns = [quotas.c[name] for name in QuotaRow._fields]
        statement = select(*columns).where(quotas.c.scope_id.in_(bindparam("ids", expanding=True)))
        return [QuotaRow._make(row) for row in self._of_many(statement, scope_ids)]

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

    def add_reservations(self, rows: Sequence[ReservationRow]) -> None:
        """New reservations; the ids are unique."""
        if rows:
            self.connection.execute(reservations.insert(), [_reservation_values(r) for r in rows])

    def flush(self, counts: Iterable[tuple[str, int, int]]) -> None:
        """(request id, prompt tokens, completion tokens) so far."""
        names = ("id", "prompt_tokens", "completion_tokens")
        values = [dict(zip(names, one, strict=True)) for one in sorted(counts)]
        if values:
            self.connection.execute(_FLUSH, values)

    def take_reservations(self, request_ids: Collection[str]) -> set[str]:
        """Removes reservations; the ids of those that were still there."""
        statement = (
            delete(reservations)
            .where(reservations.c.request_id.in_(bindparam("ids", expanding=True)))
            .returning(reservations.c.request_id)
        )
        return {row[0] for row in self._of_many(statement, request_ids)}

    def existing_reservations(self, request_ids: Collection[str]) -> set[str]:
        """Those of the reservations that are there."""
        statement = select(reservations.c.request_id).where(
            reservations.c.request_id.in_(bindparam("ids", expanding=True))
        )
        return {row[0] for row in self._of_many(statement, request_ids)}

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
        self.connection.execute(delete(gateways).where(expired))
        alive = select(gateways.c.id).where(gateways.c.expires_at_us >= now_us)
        return len(self.connection.execute(alive).all())

    def end_gateway(self, gateway_id: str) -> None:
        """Ends a lease: the gateway has settled everything."""
        self.connection.execute(delete(gateways).where(gateways.c.id == gateway_id))

    def prices(self) -> list[PriceRow]:
        """The whole price table; it is small."""
        columns = [prices.c[name] for name in PriceRow._fields]
        return [PriceRow._make(row) for row in self.connection.execute(select(*columns))]

    def plans(self) -> dict[str, PlanRow]:
        """All plans by their ids, the deleted ones too: a subscription may still have one."""
        return {row.id: _plan_of(row) for row in self.connection.execute(select(plans))}

    def subscriptions(
        self, scope_ids: Collection[str], plans_by_id: dict[str, PlanRow], *, lock: bool = False
    ) -> dict[Scope, SubscriptionRow]:
        """The subscriptions of these subjects that have not ended."""
        statement = (
            select(subscriptions)
            .where(subscriptions.c.scope_id.in_(bindparam("ids", expanding=True)))
            .where(subscriptions.c.ended_at_us.is_(None))
            .order_by(subscriptions.c.id)
        )
        if lock:
            statement = statement.with_for_update()
        return {
            (row.scope_kind, row.scope_id): SubscriptionRow(
                row.id,
                (row.scope_kind, row.scope_id),
                plans_by_id[row.plan_id],
                plans_by_id.get(row.next_plan_id or ""),
                row.period_starts_at_us,
            )
            for row in self._of_many(statement, scope_ids)
        }

    def add_subscription(
        self, row_id: str, scope: Scope, plan: PlanRow, now_us: int
    ) -> SubscriptionRow:
        """A subscription whose first period has yet to begin."""
        self.connection.execute(
            subscriptions.insert(),
            {
                "id": row_id,
                "scope_kind": scope[0],
                "scope_id": scope[1],
                "plan_id": plan.id,
                "started_at_us": now_us,
                "period_starts_at_us": 0,
                "period_ends_at_us": 0,
            },
        )
        return SubscriptionRow(row_id, scope, plan, None, 0)

    def balances(self, scope: Scope) -> dict[str, int]:
        """What a holder's accounts have, not locked."""
        statement = select(credit_accounts.c.name, credit_accounts.c.balance_micro).where(
            credit_accounts.c.scope_kind == scope[0], credit_accounts.c.scope_id == scope[1]
        )
        rows = self.connection.execute(statement)
        return dict.fromkeys(CREDIT_ACCOUNTS, 0) | {row.name: row.balance_micro for row in rows}

    def save_subscription(self, row: SubscriptionRow, ends_at_us: int) -> None:
        """Writes a subscription that is locked."""
        self.connection.execute(
            update(subscriptions)
            .where(subscriptions.c.id == row.id)
            .values(
                plan_id=row.plan.id,
                next_plan_id=None if row.next_plan is None else row.next_plan.id,
                period_starts_at_us=row.period_starts_at_us,
                period_ends_at_us=ends_at_us,
            )
        )

    def lock_balances(self, scopes: Collection[Scope]) -> dict[Scope, dict[str, tuple[str, int]]]:
        """(id, balance) of the holders' accounts by name, locked; new holders get theirs."""
        wanted = set(scopes)
        balances = self._select_balances(wanted)
        if missing := sorted(wanted - balances.keys()):
            new = [
                {"id": new_id(), "scope_kind": kind, "scope_id": scope_id, "name": name}
                for kind, scope_id in missing
                for name in CREDIT_ACCOUNTS
            ]
            self.connection.execute(self.insert(credit_accounts).on_conflict_do_nothing(), new)
            balances = self._select_balances(wanted)
        return balances

    def save_transfers(
        self,
        transfers: Sequence[TransferRow],
        balances: dict[Scope, dict[str, tuple[str, int]]],
        now_us: int,
    ) -> None:
        """Writes transactions with both of their entries, and the balances that follow."""
        changes: dict[str, int] = {}
        heads, entries = [], []
        for one in transfers:
            head: dict[str, Any] = {"id": new_id(), "kind": one.kind}
            head |= {"request_id": one.request_id}
            head |= {"note": one.note, "created_by": one.created_by, "created_at_us": now_us}
            heads.append(head)
            for name, amount in one.legs:
                account = balances[one.scope][name][0]
                changes[account] = changes.get(account, 0) + amount
                entry = {"id": new_id(), "transaction_id": head["id"]}
                entries.append(entry | {"account_id": account, "amount_micro": amount})
        if heads:
            self.connection.execute(credit_transactions.insert(), heads)
            self.connection.execute(credit_entries.insert(), entries)
            self.connection.execute(
                _CHANGE_BALANCE, [{"account": a, "amount": n} for a, n in sorted(changes.items())]
            )

    def _select_counters(
        self, keys: set[CounterKey], *, lock: bool = True
    ) -> dict[CounterKey, CounterRow]:
        columns = counters.primary_key.columns
        statement = (
            select(counters)
            .where(counters.c.scope_id.in_(bindparam("ids", expanding=True)))
            .order_by(*columns)
        )
        if lock:
            statement = statement.with_for_update()
        ids = {key[1] for key in keys}
        rows = {
            (row.scope_kind, row.scope_id, row.model, row.measure, row.period): CounterRow(
                row.used, row.reserved, row.starts_at_us, row.next_at_us, row.buckets
            )
            for row in self._of_many(statement, ids)
        }
        return {key: row for key, row in rows.items() if key in keys}

    def _select_balances(self, scopes: set[Scope]) -> dict[Scope, dict[str, tuple[str, int]]]:
        statement = (
            select(credit_accounts)
            .where(credit_accounts.c.scope_id.in_(bindparam("ids", expanding=True)))
            .order_by(
                credit_accounts.c.scope_id, credit_accounts.c.scope_kind, credit_accounts.c.name
            )
            .with_for_update()
        )
        balances: dict[Scope, dict[str, tuple[str, int]]] = {}
        for row in self._of_many(statement, {scope[1] for scope in scopes}):
            names = balances.setdefault((row.scope_kind, row.scope_id), {})
            names[row.name] = (row.id, row.balance_micro)
        return {scope: names for scope, names in balances.items() if scope in scopes}

    def _of_many(self, statement: Select[Any] | Any, ids: Collection[str]) -> list[Row[Any]]:
        """What a statement finds for many ids, in their order."""
        # sorted, so that two gateways lock the same rows in the same order
        ordered, rows = sorted(ids), list[Row[Any]]()
        for start in range(0, len(ordered), _MANY):
            part = {"ids": ordered[start : start + _MANY]}
            rows += self.connection.execute(statement, part).all()
        return rows


CREDIT_ACCOUNTS = ("granted", "available", "reserved", "spent", "expired")

_FLUSH = (
    update(reservations)
    .where(reservations.c.request_id == bindparam("id"))
    .values(
        prompt_tokens=bindparam("prompt_tokens"), completion_tokens=bindparam("completion_tokens")
    )
)
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
_CHANGE_BALANCE = (
    update(credit_accounts)
    .where(credit_accounts.c.id == bindparam("account"))
    .values(balance_micro=credit_accounts.c.balance_micro + bindparam("amount"))
)


def _counter_key(key: CounterKey) -> dict[str, str]:
    return dict(zip(("scope_kind", "scope_id", "model", "measure", "period"), key, strict=True))


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


def _plan_of(row: Any) -> PlanRow:
    return PlanRow(row.id, row.name, row.credits_micro, row.shared, row.quotas)
