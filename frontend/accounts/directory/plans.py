"""Manages plans, subscriptions, credits and the price table."""

from dataclasses import dataclass
from typing import Any

from frontend.accounts import plans as rules
from frontend.accounts.credits import Balance, NotEnough, Reason, Transfer, transfer
from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Change, Changes
from frontend.accounts.directory.quotas import check_quota
from frontend.accounts.directory.rules import check_choice, check_name, check_text, exists
from frontend.accounts.limits import MAX_AMOUNT, Scope
from frontend.accounts.memory import plan_of, subscription_of
from frontend.accounts.windows import parse_window
from frontend.domain.allowances import NewQuota, StoredPlan, StoredPrice, Subscription
from frontend.domain.ids import new_id
from frontend.errors import Conflict, InvalidRequest, NotFound
from frontend.store import accounts as store
from frontend.store import allowances, tables
from frontend.store.ledger.books import Books
from frontend.store.ledger.credits import TransferRow
from frontend.store.records import Range, Records, Rows

_MONTH = parse_window("month")
_HOLDERS: dict[Scope, Records[Any]] = {
    Scope.ORGANISATION: store.ORGANISATIONS,
    Scope.GROUP: store.GROUPS,
    Scope.USER: store.USERS,
}


@dataclass(frozen=True, slots=True)
class Plans:
    """Creates and edits plans."""

    changes: Changes

    async def page(self, range_: Range) -> list[StoredPlan]:
        """One page."""
        async with self.changes.database.connect() as rows:
            return await allowances.PLANS.page(rows, range_)

    async def get(self, plan_id: str) -> StoredPlan:
        """The plan of an id. Raises NotFound if there is none."""
        async with self.changes.database.connect() as rows:
            return await _plan(rows, plan_id)

    async def create(self, actor: Actor, name: str, values: dict[str, Any]) -> StoredPlan:
        """Adds a plan; `values` has `credits_micro`, `shared` and `quotas`. Raises InvalidRequest
        if a value is not valid, and Conflict if the name is in use."""
        check_name(name)
        async with self.changes.begin(actor, "plans.create") as change:
            if change.kept is None:
                _check(values, change.now_us)
                added = new_id()
                row = {"id": added, "name": name, "built_in": False, **values}
                row["created_at_us"] = change.now_us
                await allowances.free_name(change.connection, name)
                await allowances.PLANS.insert(change.connection, **row)
                change.note("plan", added, name=name)
            plan_id = change.target_id if change.kept is None else change.kept["id"]
            return await _plan(change.connection, plan_id)

    async def edit(self, actor: Actor, plan_id: str, values: dict[str, Any]) -> StoredPlan:
        """Edits a plan; subscribers get its credits from the next period on. Raises NotFound if the
        id does not exist, and InvalidRequest if a value is not valid."""
        async with self.changes.begin(actor, "plans.edit") as change:
            await _plan(change.connection, plan_id)
            _check(values, change.now_us)
            await allowances.PLANS.update(change.connection, plan_id, **values)
            change.note("plan", plan_id, **values)
            return await _plan(change.connection, plan_id)

    async def delete(self, actor: Actor, plan_id: str) -> None:
        """Deletes a plan. Raises NotFound if there is none, Conflict if it has subscribers."""
        async with self.changes.begin(actor, "plans.delete") as change:
            rows, plan = change.connection, await _plan(change.connection, plan_id)
            for column in ("plan_id", "next_plan_id"):
                having = {column: plan_id, "ended_at_us": None}
                if await allowances.SUBSCRIPTIONS.find_by(rows, **having):
                    raise Conflict(f"the plan '{plan.name}' has subscribers; move them first")
            await allowances.PLANS.delete(rows, [plan_id], change.now_us)
            change.note("plan", plan_id, name=plan.name)


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """Gives plans and credits to users, groups and organisations."""

    changes: Changes

    async def page(self, range_: Range, **filters: str) -> list[Subscription]:
        """One page of those that have not ended. `filters`: `scope_kind`, `scope_id`, `plan_id`."""
        async with self.changes.database.connect() as rows:
            return await allowances.SUBSCRIPTIONS.page(rows, range_, ended_at_us=None, **filters)

    async def subscribe(self, actor: Actor, kind: str, holder: str, plan_id: str) -> Subscription:
        """Gives a plan: an upgrade takes effect now, a downgrade from the next period on.

        Raises InvalidRequest if the plan or the holder does not exist, or the plan is for another
        kind of holder.
        """
        async with self.changes.begin(actor, "subscriptions.change") as change:
            await _check_holder(change.connection, kind, holder)
            plan = exists(
                await allowances.PLANS.find(change.connection, plan_id), "plan", plan_id, "plan_id"
            )
            if plan.shared == (kind == Scope.USER):
                whose = "groups and organisations" if plan.shared else "users"
                text = f"the plan '{plan.name}' is for {whose}"
                raise InvalidRequest(text, param="scope_kind")
            if change.kept is None:
                added = await change.connection.run_sync(
                    lambda sync: _subscribe(Books(sync), (kind, holder), plan_id, change, actor)
                )
                change.note("subscription", added, scope_id=holder, plan_id=plan_id)
            found = await allowances.SUBSCRIPTIONS.find_by(
                change.connection, scope_kind=kind, scope_id=holder, ended_at_us=None
            )
            return exists(found, "subscription", holder)

    async def end(self, actor: Actor, subscription_id: str) -> None:
        """Ends a subscription; its credits expire. Raises NotFound if it does not exist or has
        ended."""
        async with self.changes.begin(actor, "subscriptions.end") as change:
            found = await allowances.SUBSCRIPTIONS.find(
                change.connection, subscription_id, locked=True, ended_at_us=None
            )
            one = exists(found, "subscription", subscription_id)
            scope = (one.scope_kind, one.scope_id)
            await change.connection.run_sync(
                lambda sync: _move(Books(sync), scope, Reason.EXPIRE, None, change, actor, "")
            )
            await allowances.SUBSCRIPTIONS.update(
                change.connection, subscription_id, ended_at_us=change.now_us
            )
            change.note("subscription", subscription_id, scope_id=one.scope_id)

    async def grant(
        self, actor: Actor, kind: str, holder: str, amount: int, note: str
    ) -> dict[str, int]:
        """Adds credits, in millionths, or removes them (below 0); returns the balances. Raises
        InvalidRequest if the holder does not exist, the amount is out of range, or the balance is
        too small.
        """
        check_text("note", note)
        if not 0 < abs(amount) <= MAX_AMOUNT:
            text = f"'credits' is {amount / 1e6:g}; it must be a millionth to {MAX_AMOUNT / 1e6:g}"
            raise InvalidRequest(f"{text}, or below 0 to take back", param="credits")
        async with self.changes.begin(actor, "credits.grant") as change:
            await _check_holder(change.connection, kind, holder)
            scope, reason = (kind, holder), Reason.GRANT if amount > 0 else Reason.REVOKE
            try:
                if change.kept is None:
                    await change.connection.run_sync(
                        lambda sync: _move(
                            Books(sync), scope, reason, abs(amount), change, actor, note
                        )
                    )
            except NotEnough as error:
                has = error.available / 1e6
                text = f"'credits': at most {has:g} can be taken back"
                raise InvalidRequest(text, param="credits") from None
            change.note(kind, holder, credits_micro=amount, note=note)
            return await self._balances(change.connection, kind, holder)

    async def credits(self, kind: str, holder: str) -> dict[str, int]:
        """The balances of a holder's accounts, in millionths of a credit. Raises InvalidRequest if
        the holder does not exist."""
        async with self.changes.database.connect() as rows:
            await _check_holder(rows, kind, holder)
            return await self._balances(rows, kind, holder)

    async def _balances(self, rows: Rows, kind: str, holder: str) -> dict[str, int]:
        return await rows.run_sync(lambda sync: Books(sync).balances((kind, holder)))


@dataclass(frozen=True, slots=True)
class Prices:
    """The price table. A price is never edited: a new one replaces it from a time on."""

    changes: Changes

    async def page(self, range_: Range, **filters: str) -> list[StoredPrice]:
        """One page. `filters`: `model`."""
        async with self.changes.database.connect() as rows:
            return await allowances.PRICES.page(rows, range_, **filters)

    async def create(self, actor: Actor, model: str, values: dict[str, Any]) -> StoredPrice:
        """Adds prices from `starts_at_us` or now on. Raises InvalidRequest if `model` is not valid,
        and Conflict if the model has prices from that moment on."""
        check_text("model", model)
        if not model:
            text = "'model' is empty; it must be a model's name, or '*' for all"
            raise InvalidRequest(text, param="model")
        async with self.changes.begin(actor, "prices.create") as change:
            if change.kept is None:
                added = new_id()
                row = {"starts_at_us": change.now_us, **values, "model": model, "id": added}
                await allowances.PRICES.insert(change.connection, **row)
                change.note("price", added, model=model, **values)
            price_id = change.target_id if change.kept is None else change.kept["id"]
            found = await allowances.PRICES.find(change.connection, price_id)
            return exists(found, "price", price_id)

    async def delete(self, actor: Actor, price_id: str) -> None:
        """Deletes a price; earlier charges are kept. Raises NotFound if the id does not exist."""
        async with self.changes.begin(actor, "prices.delete") as change:
            if await allowances.PRICES.find(change.connection, price_id) is None:
                raise NotFound(f"there is no price '{price_id[:64]}'", code="price_not_found")
            await allowances.remove(change.connection, tables.prices, price_id)
            change.note("price", price_id)


def _subscribe(
    books: Books, scope: tuple[str, str], plan_id: str, change: Change, actor: Actor
) -> str:
    """Changes the subscription of a holder, or begins one; its id."""
    plans = books.plans()
    # in the order of all locks: subscriptions before credit accounts
    row = books.subscriptions([scope[1]], plans, lock=True).get(scope)
    if row is None:
        row = books.add_subscription(new_id(), scope, plans[plan_id], change.now_us)
    accounts = books.lock_balances([scope])
    balance, subscription = balance_of(accounts[scope]), subscription_of(row)
    moves = rules.change(subscription, balance, plan_of(plans[plan_id]), change.now_us)
    by_name = {plan.name: plan for plan in plans.values()}
    row.plan = by_name[subscription.plan.name]
    following = subscription.next_plan
    row.next_plan = None if following is None else by_name[following.name]
    row.period_starts_at_us = subscription.period_start_us
    row.credits = subscription.credits
    books.save_subscription(row, _MONTH.end(change.now_us))
    _save(books, scope, moves, accounts, change, actor, "change of the plan")
    return row.id


def _move(
    books: Books,
    scope: tuple[str, str],
    reason: Reason,
    amount: int | None,
    change: Change,
    actor: Actor,
    note: str,
) -> None:
    """Moves an amount of credits, or all that are available."""
    accounts = books.lock_balances([scope])
    balance = balance_of(accounts[scope])
    moved = transfer(balance, reason, balance.available if amount is None else amount)
    _save(books, scope, [moved] if moved.amount else [], accounts, change, actor, note)


def _save(
    books: Books,
    scope: tuple[str, str],
    moves: list[Transfer],
    accounts: dict[tuple[str, str], dict[str, tuple[str, int]]],
    change: Change,
    actor: Actor,
    note: str,
) -> None:
    rows = [TransferRow(scope, one.reason, one.legs, None, note, actor.id) for one in moves]
    books.save_transfers(rows, accounts, change.now_us)


def balance_of(accounts: dict[str, tuple[str, int]]) -> Balance:
    """Converts a holder's stored accounts to a balance."""
    names = ("available", "reserved", "spent", "expired")
    return Balance(*(accounts[name][1] for name in names))


def _check(values: dict[str, Any], now_us: int) -> None:
    for measure, period, amount in values.get("quotas", ()):
        check_quota(NewQuota("user", "", measure, period, amount), now_us)


async def _check_holder(rows: Rows, kind: str, holder: str) -> None:
    check_choice("scope_kind", kind, _HOLDERS)
    exists(await _HOLDERS[Scope(kind)].find(rows, holder), kind, holder, "scope_id")


async def _plan(rows: Rows, plan_id: str) -> StoredPlan:
    return exists(await allowances.PLANS.find(rows, plan_id), "plan", plan_id)
