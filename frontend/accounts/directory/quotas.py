"""Quotas of organisations, groups, users and keys.

Of several quotas for the same measure, the largest applies. Deleting a quota, or making it again,
does not reset the usage.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Change, Changes
from frontend.accounts.directory.rules import check_choice, check_text, exists
from frontend.accounts.limits import MAX_AMOUNT, Measure, Scope
from frontend.accounts.windows import Kind, parse_window
from frontend.domain.allowances import NewQuota, Quota
from frontend.domain.ids import new_id
from frontend.errors import Conflict, InvalidRequest, StoreUnavailable
from frontend.store import accounts as store
from frontend.store import allowances, tables
from frontend.store.records import Range, Records, Rows
from frontend.store.redis import Place, SharedCounters, place_of_rate

_SUBJECTS: dict[Scope, Records[Any]] = {
    Scope.ORGANISATION: store.ORGANISATIONS,
    Scope.GROUP: store.GROUPS,
    Scope.USER: store.USERS,
    Scope.KEY: store.KEYS,
}


def check_quota(quota: NewQuota, now_us: int) -> None:
    """Raises InvalidRequest naming the field."""
    check_choice("scope_kind", quota.scope_kind, Scope)
    check_choice("measure", quota.measure, Measure)
    try:
        window = parse_window(quota.period)
    except ValueError as error:
        raise InvalidRequest(f"'period': {error}", param="period") from None
    is_held = quota.measure == Measure.CONCURRENCY
    if is_held != (window.kind is Kind.NONE) and (is_held or quota.measure == Measure.REQUESTS):
        right = "'none'" if is_held else "a period, not 'none'"
        text = f"'period' is '{quota.period}'; for {quota.measure} it must be {right}"
        raise InvalidRequest(text, param="period")
    if not 0 <= quota.amount <= MAX_AMOUNT:
        text = f"'amount' is {quota.amount}; it must be between 0 and {MAX_AMOUNT}"
        raise InvalidRequest(text, param="amount")
    check_text("model", quota.model)
    if "*" in quota.model:
        text = f"'model' is '{quota.model[:64]}'; it must be one model's name, or empty for all"
        raise InvalidRequest(text, param="model")
    if quota.expires_at_us is not None and quota.expires_at_us <= now_us:
        raise InvalidRequest("'expires_at' is in the past", param="expires_at")


async def add_quota(change: Change, quota: NewQuota, actor: Actor) -> str:
    """Adds a quota within a change. Raises InvalidRequest if a value is not valid, and Conflict if
    another quota covers the same requests."""
    check_quota(quota, change.now_us)
    rows = change.connection
    subject = await _SUBJECTS[Scope(quota.scope_kind)].find(rows, quota.scope_id)
    exists(subject, quota.scope_kind, quota.scope_id, "scope_id")
    # others with an end are allowed beside it, since the largest counts
    if quota.expires_at_us is None:
        same = await allowances.QUOTAS.find_by(rows, **quota.what, expires_at_us=None)
        if same is not None:
            raise Conflict(
                f"the quota '{same.id}' already covers the same requests; edit that quota",
                param="period",
            )
    added = new_id()
    await allowances.QUOTAS.insert(
        rows,
        id=added,
        **quota.what,
        amount=quota.amount,
        expires_at_us=quota.expires_at_us,
        created_at_us=change.now_us,
        created_by=actor.id,
    )
    return added


@dataclass(frozen=True, slots=True)
class Quotas:
    """Creates, edits, resets and deletes quotas."""

    changes: Changes
    counters: SharedCounters | None = None
    """Where rates are counted, if not in the database."""

    async def page(self, range_: Range, **filters: str) -> list[Quota]:
        """One page. `filters`: `scope_kind`, `scope_id`."""
        async with self.changes.database.connect() as rows:
            return await allowances.QUOTAS.page(rows, range_, **filters)

    async def get(self, quota_id: str) -> Quota:
        """The quota of an id. Raises NotFound if there is none."""
        async with self.changes.database.connect() as rows:
            return await _quota(rows, quota_id)

    async def create(self, actor: Actor, quota: NewQuota) -> Quota:
        """Creates a quota.

        Raises InvalidRequest that names the field, Conflict if there is one for the same usage.
        """
        async with self.changes.begin(actor, "quotas.create") as change:
            if change.kept is None:
                added = await add_quota(change, quota, actor)
                change.note("quota", added, **quota.what, amount=quota.amount)
            quota_id = change.target_id if change.kept is None else change.kept["id"]
            return await _quota(change.connection, quota_id)

    async def edit(self, actor: Actor, quota_id: str, values: dict[str, Any]) -> Quota:
        """Changes `amount` or `expires_at_us`, given in `values`. Raises NotFound if the id does
        not exist, and InvalidRequest if a value is not valid."""
        async with self.changes.begin(actor, "quotas.edit") as change:
            rows = change.connection
            quota = replace(await _quota(rows, quota_id), **values)
            new = NewQuota(
                quota.scope_kind,
                quota.scope_id,
                quota.measure,
                quota.period,
                quota.amount,
                quota.model,
                values.get("expires_at_us"),
            )
            check_quota(new, change.now_us)
            await allowances.QUOTAS.update(rows, quota_id, **values)
            change.note("quota", quota_id, **values)
            return quota

    async def reset(self, actor: Actor, quota_id: str) -> Quota:
        """Sets its usage to 0 in every process. Raises NotFound if the id does not exist."""
        async with self.changes.begin(actor, "quotas.reset") as change:
            quota = await _quota(change.connection, quota_id)
            await allowances.forget_used(change.connection, quota)
            change.note("quota", quota_id)
        if self.counters is not None and quota.period == "minute":
            # while Redis is away, the minute itself ends soon
            with suppress(StoreUnavailable):
                await self.counters.forget(_place_of(quota))
        return quota

    async def delete(self, actor: Actor, quota_id: str) -> None:
        """Deletes a quota. Raises NotFound if there is none."""
        async with self.changes.begin(actor, "quotas.delete") as change:
            quota = await _quota(change.connection, quota_id)
            await allowances.remove(change.connection, tables.quotas, quota_id)
            change.note("quota", quota_id, scope_id=quota.scope_id, amount=quota.amount)


def _place_of(quota: Quota) -> Place:
    what = quota.scope_kind, quota.scope_id, quota.model, quota.measure, quota.period
    return place_of_rate(*what)


async def _quota(rows: Rows, quota_id: str) -> Quota:
    return exists(await allowances.QUOTAS.find(rows, quota_id), "quota", quota_id)
