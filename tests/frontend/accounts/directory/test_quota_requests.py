"""Requests for higher limits: ends, grants for good, repeated decisions."""

import time
from dataclasses import replace

import pytest

from frontend.accounts.directory.actor import OPERATOR, Actor
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.quota_requests import MAX_PENDING
from frontend.domain.allowances import NewQuota, QuotaRequest
from frontend.errors import Conflict
from frontend.store.records import Range
from tests.support.accounts import add


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now_us = time.time_ns() // 1000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock(directory: Directory) -> Clock:
    clock = Clock()
    for part in ("quotas", "quota_requests"):
        owner = getattr(directory, part)
        # the dataclasses are frozen, so that nobody changes the clock of a running gateway
        object.__setattr__(owner, "changes", replace(owner.changes, now_us=clock))
    return clock


async def file(directory: Directory, clock: Clock, for_s: int | None = 60) -> QuotaRequest:
    """A request of a new user; the user's id is that of the request."""
    users = [user.id for user in await directory.users.page(Range(1))]
    user = users[0] if users else (await add(directory, "ada"))[0].id
    actor = Actor(user, "ada", frozenset())
    ends_us = None if for_s is None else clock.now_us + for_s * 1_000_000
    quota = NewQuota("user", user, "tokens", "month", 500, expires_at_us=ends_us)
    return await directory.quota_requests.file(actor, quota, "a course")


async def status(directory: Directory, request: QuotaRequest) -> str:
    found = await directory.quota_requests.page(Range(10), user_id=request.user_id)
    return {one.id: one.status for one in found}[request.id]


async def test_a_request_expires_with_the_time_it_asks_for(
    directory: Directory, clock: Clock
) -> None:
    pending, approved = await file(directory, clock), await file(directory, clock)
    endless = await file(directory, clock, None)
    await directory.quota_requests.approve(OPERATOR, approved.id)
    clock.now_us += 61_000_000
    with pytest.raises(Conflict, match="the request has expired"):
        await directory.quota_requests.approve(OPERATOR, pending.id)
    assert await directory.quota_requests.page(Range(9), status="expired") != []
    assert await status(directory, pending) == await status(directory, approved) == "expired"
    assert await status(directory, endless) == "pending"
    with pytest.raises(Conflict, match="is already expired"):
        await directory.quota_requests.refuse(OPERATOR, pending.id, "")


async def test_requests_that_expired_keep_no_place(directory: Directory, clock: Clock) -> None:
    for _ in range(MAX_PENDING):
        await file(directory, clock)
    with pytest.raises(Conflict, match="are pending"):
        await file(directory, clock)
    clock.now_us += 61_000_000
    await file(directory, clock)


async def test_more_can_be_granted_for_good(directory: Directory, clock: Clock) -> None:
    for end_us in (None, clock.now_us + 5_000_000):
        asked = await file(directory, clock)
        decided = await directory.quota_requests.approve(OPERATOR, asked.id, None, end_us)
        assert decided.quota_id is not None
        quota = await directory.quotas.get(decided.quota_id)
        assert quota.expires_at_us == decided.expires_at_us == end_us


async def test_a_repeated_decision_gets_the_same_answer(directory: Directory, clock: Clock) -> None:
    asked, other = await file(directory, clock), await file(directory, clock)
    approver = replace(OPERATOR, idempotency_key="one")
    refuser = replace(OPERATOR, idempotency_key="two")
    first = await directory.quota_requests.approve(approver, asked.id)
    assert await directory.quota_requests.approve(approver, asked.id) == first
    refused = await directory.quota_requests.refuse(refuser, other.id, "no")
    assert await directory.quota_requests.refuse(refuser, other.id, "no") == refused
    with pytest.raises(Conflict, match="already approved"):
        await directory.quota_requests.approve(OPERATOR, asked.id)
