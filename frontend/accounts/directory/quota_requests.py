"""Users' requests for higher quotas, and the decisions on them.

An approved request becomes a quota of its own, often with an end.
"""

from dataclasses import dataclass
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Change, Changes
from frontend.accounts.directory.quotas import add_quota, check_quota
from frontend.accounts.directory.rules import check_choice, check_text, exists
from frontend.domain.allowances import STATUSES, NewQuota, QuotaRequest
from frontend.domain.ids import new_id
from frontend.errors import Conflict, NotFound
from frontend.store import accounts as store
from frontend.store import allowances, tables
from frontend.store.records import Range, Rows

MAX_PENDING, MAX_UNSEEN = 5, 20
AS_ASKED = -1
"""In place of an end: the one that was asked for."""
MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class QuotaRequests:
    """Takes users' requests for higher quotas, and decides on them."""

    changes: Changes

    async def page(self, range_: Range, **filters: str) -> list[QuotaRequest]:
        """One page, filtered by `user_id` and `status`. Raises InvalidRequest if the status is not
        known."""
        check_choice("status", filters.get("status"), STATUSES)
        database, now_us = self.changes.database, self.changes.now_us()
        async with database.connect() as rows:
            due = await allowances.due_requests(rows, now_us)
            found = await allowances.QUOTA_REQUESTS.page(rows, range_, **filters)
        if not due:
            return found
        async with database.begin() as rows:
            await allowances.expire_requests(rows, now_us)
            return await allowances.QUOTA_REQUESTS.page(rows, range_, **filters)

    async def file(self, actor: Actor, quota: NewQuota, reason: str) -> QuotaRequest:
        """A request for a quota of the user who sends it. Raises InvalidRequest if a value is not
        valid, and Conflict if too many of the user's requests are pending."""
        check_text("reason", reason, MAX_REASON)
        async with self.changes.begin(actor, "quota_requests.file") as change:
            if change.kept is None:
                check_quota(quota, change.now_us)
                await self._check_pending(change, actor)
                added = new_id()
                await allowances.QUOTA_REQUESTS.insert(
                    change.connection,
                    id=added,
                    user_id=actor.id,
                    **quota.what,
                    amount=quota.amount,
                    reason=reason,
                    status="pending",
                    created_at_us=change.now_us,
                    expires_at_us=quota.expires_at_us,
                )
                change.note("quota_request", added, **quota.what, amount=quota.amount)
            request_id = change.target_id if change.kept is None else change.kept["id"]
            return await _request(change.connection, request_id)

    async def unseen(self, user_id: str) -> list[QuotaRequest]:
        """Requests of a user whose decision the user has not seen, at most `MAX_UNSEEN`."""
        async with self.changes.database.connect() as rows:
            return await allowances.unseen_answers(rows, user_id, MAX_UNSEEN)

    async def see(self, user_id: str, request_id: str) -> QuotaRequest:
        """The user has seen the decision. Raises NotFound, also while there is no decision."""
        async with self.changes.database.begin() as rows:
            now_us = self.changes.now_us()
            if not await allowances.see_answer(rows, user_id, request_id, now_us):
                text = f"you have no request '{request_id[:64]}' with a decision"
                raise NotFound(text, code="quota_request_not_found")
            return await _request(rows, request_id)

    async def approve(
        self,
        actor: Actor,
        request_id: str,
        amount: int | None = None,
        expires_at_us: int | None = AS_ASKED,
    ) -> QuotaRequest:
        """Grants this amount, or the requested one. `expires_at_us` of None grants it without an
        end.

        Raises NotFound if the id does not exist, Conflict if the request has been decided or has
        expired, and InvalidRequest if a value is not valid.
        """
        async with self.changes.begin(actor, "quota_requests.approve") as change:
            if change.kept is not None:
                return await _request(change.connection, request_id)
            asked = await _pending(change, request_id)
            quota = NewQuota(
                asked.scope_kind,
                asked.scope_id,
                asked.measure,
                asked.period,
                asked.amount if amount is None else amount,
                asked.model,
                asked.expires_at_us if expires_at_us == AS_ASKED else expires_at_us,
            )
            if quota.expires_at_us is None:
                await self._replace(change, quota)
            quota_id = await add_quota(change, quota, actor)
            granted = {"quota_id": quota_id, "expires_at_us": quota.expires_at_us}
            return await self._decide(change, actor, asked, "approved", **granted)

    async def refuse(self, actor: Actor, request_id: str, note: str) -> QuotaRequest:
        """Refuses a request. Raises NotFound if there is none, Conflict if it was decided."""
        check_text("note", note, MAX_REASON)
        async with self.changes.begin(actor, "quota_requests.refuse") as change:
            if change.kept is not None:
                return await _request(change.connection, request_id)
            asked = await _pending(change, request_id)
            return await self._decide(change, actor, asked, "refused", note=note)

    async def _check_pending(self, change: Change, actor: Actor) -> None:
        rows = change.connection
        exists(await store.USERS.find(rows, actor.id), "user", actor.id)
        # one that was not decided in time must not keep a place
        await allowances.expire_requests(rows, change.now_us)
        pending = await allowances.QUOTA_REQUESTS.page(
            rows, Range(MAX_PENDING), user_id=actor.id, status="pending"
        )
        if len(pending) == MAX_PENDING:
            raise Conflict(f"{MAX_PENDING} of your requests are pending; wait for a decision")

    async def _replace(self, change: Change, quota: NewQuota) -> None:
        """A permanent increase takes the place of the quota that it increases."""
        same = await allowances.QUOTAS.find_by(change.connection, **quota.what, expires_at_us=None)
        if same is not None:
            await allowances.remove(change.connection, tables.quotas, same.id)

    async def _decide(
        self, change: Change, actor: Actor, asked: QuotaRequest, status: str, **more: Any
    ) -> QuotaRequest:
        await allowances.QUOTA_REQUESTS.update(
            change.connection,
            asked.id,
            status=status,
            decided_by=actor.id,
            decided_at_us=change.now_us,
            **more,
        )
        change.note("quota_request", asked.id, status=status, user_id=asked.user_id, **more)
        return await _request(change.connection, asked.id)


async def _request(rows: Rows, request_id: str) -> QuotaRequest:
    found = await allowances.QUOTA_REQUESTS.find(rows, request_id, locked=True)
    return exists(found, "quota_request", request_id)


async def _pending(change: Change, request_id: str) -> QuotaRequest:
    asked = await _request(change.connection, request_id)
    if asked.status == "pending" and allowances.is_over(asked, change.now_us):
        raise Conflict("the request has expired: the requested end has passed")
    if asked.status != "pending":
        raise Conflict(f"the request is already {asked.status}")
    return asked
