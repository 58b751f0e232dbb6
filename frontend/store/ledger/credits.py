"""Plans, who has them, balances of credits in double entry, and prices, as they are stored."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from frontend.domain.allowances import StoredPrice
from frontend.domain.ids import new_id
from frontend.store.ledger.transaction import Transaction
from frontend.store.tables import (
    credit_accounts,
    credit_entries,
    credit_transactions,
    plans,
    prices,
    subscriptions,
)

Scope = tuple[str, str]
"""Kind and id."""
CREDIT_ACCOUNTS = ("granted", "available", "reserved", "spent", "expired")


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
    credits: int | None
    """Of the plan in this period, as it was then; None: unlimited."""


class TransferRow(NamedTuple):
    """One transaction of credits: the accounts' names and amounts, which add up to 0."""

    scope: Scope
    kind: str
    legs: tuple[tuple[str, int], tuple[str, int]]
    request_id: str | None
    note: str = ""
    created_by: str | None = None


class Credits(Transaction):
    """Plans, credits and prices in one transaction."""

    def prices(self) -> list[StoredPrice]:
        """The whole price table; it is small."""
        return [StoredPrice(*row) for row in self.connection.execute(_PRICES)]

    def plans(self) -> dict[str, PlanRow]:
        """All plans by their ids, the deleted ones too: a subscription may still have one."""
        return {row.id: _plan_of(row) for row in self.connection.execute(_PLANS)}

    def subscriptions(
        self, scope_ids: Collection[str], plans_by_id: dict[str, PlanRow], *, lock: bool = False
    ) -> dict[Scope, SubscriptionRow]:
        """The subscriptions of these subjects that have not ended."""
        statement = _LOCKED_SUBSCRIPTIONS if lock else _SUBSCRIPTIONS
        return {
            (row.scope_kind, row.scope_id): SubscriptionRow(
                row.id,
                (row.scope_kind, row.scope_id),
                plans_by_id[row.plan_id],
                plans_by_id.get(row.next_plan_id or ""),
                row.period_starts_at_us,
                row.period_credits_micro,
            )
            for row in self.of_many(statement, scope_ids)
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
                "period_credits_micro": 0,
            },
        )
        return SubscriptionRow(row_id, scope, plan, None, 0, 0)

    def balances(self, scope: Scope) -> dict[str, int]:
        """The balances of a holder's accounts, without a lock."""
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
                period_credits_micro=row.credits,
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

    def _select_balances(self, scopes: set[Scope]) -> dict[Scope, dict[str, tuple[str, int]]]:
        balances: dict[Scope, dict[str, tuple[str, int]]] = {}
        for row in self.of_many(_BALANCES, {scope[1] for scope in scopes}):
            names = balances.setdefault((row.scope_kind, row.scope_id), {})
            names[row.name] = (row.id, row.balance_micro)
        return {scope: names for scope, names in balances.items() if scope in scopes}


# statements are made once: for a few rows, that costs more than to execute them
_PRICES = select(*(prices.c[one.name] for one in fields(StoredPrice)))
_PLANS = select(plans)
_SUBSCRIPTIONS = (
    select(subscriptions)
    .where(subscriptions.c.scope_id.in_(bindparam("ids", expanding=True)))
    .where(subscriptions.c.ended_at_us.is_(None))
    .order_by(subscriptions.c.id)
)
_LOCKED_SUBSCRIPTIONS = _SUBSCRIPTIONS.with_for_update()
_BALANCES = (
    select(credit_accounts)
    .where(credit_accounts.c.scope_id.in_(bindparam("ids", expanding=True)))
    .order_by(credit_accounts.c.scope_id, credit_accounts.c.scope_kind, credit_accounts.c.name)
    .with_for_update()
)
_CHANGE_BALANCE = (
    update(credit_accounts)
    .where(credit_accounts.c.id == bindparam("account"))
    .values(balance_micro=credit_accounts.c.balance_micro + bindparam("amount"))
)


def _plan_of(row: Any) -> PlanRow:
    return PlanRow(row.id, row.name, row.credits_micro, row.shared, row.quotas)
