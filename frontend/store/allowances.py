"""The rows of quotas, requests for higher quotas, plans, subscriptions and prices."""

from sqlalchemy import ColumnElement, Table, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.domain.allowances import (
    Quota,
    QuotaRequest,
    StoredPlan,
    StoredPrice,
    Subscription,
)
from frontend.store import tables
from frontend.store.records import Records

QUOTAS = Records(tables.quotas, Quota, "quota")
QUOTA_REQUESTS = Records(tables.quota_requests, QuotaRequest, "quota_request")
PLANS = Records(tables.plans, StoredPlan, "plan")
SUBSCRIPTIONS = Records(tables.subscriptions, Subscription, "subscription")
PRICES = Records(tables.prices, StoredPrice, "price")


async def due_requests(connection: AsyncConnection, now_us: int) -> bool:
    """Whether there are requests to expire."""
    found = select(tables.quota_requests.c.id).where(_due(now_us)).limit(1)
    return (await connection.execute(found)).first() is not None


async def expire_requests(connection: AsyncConnection, now_us: int) -> None:
    """Ends requests, pending and approved ones, that have expired."""
    statement = update(tables.quota_requests).where(_due(now_us))
    await connection.execute(statement.values(status="expired"))


async def count_pending(connection: AsyncConnection, now_us: int) -> int:
    """Requests for higher quotas that wait for a decision."""
    columns = tables.quota_requests.c
    pending = columns.status == "pending", ~func.coalesce(columns.expires_at_us <= now_us, False)
    query = select(func.count()).select_from(tables.quota_requests).where(*pending)
    return int((await connection.execute(query)).scalar_one())


async def unseen_answers(
    connection: AsyncConnection, user_id: str, most: int
) -> list[QuotaRequest]:
    """A user's requests whose decision the user has not seen, the oldest first."""
    columns = tables.quota_requests.c
    unseen = columns.user_id == user_id, columns.answer_seen_at_us.is_(None)
    query = select(columns.id).where(*unseen, columns.status.in_(("approved", "refused")))
    ids = (await connection.execute(query.order_by(columns.id).limit(most))).scalars()
    found = [await QUOTA_REQUESTS.find(connection, one) for one in ids]
    return [one for one in found if one is not None]


async def see_answer(
    connection: AsyncConnection, user_id: str, request_id: str, now_us: int
) -> bool:
    """Notes that the user has seen the decision; whether the user has such a request."""
    columns = tables.quota_requests.c
    own = columns.id == request_id, columns.user_id == user_id
    first = func.coalesce(columns.answer_seen_at_us, now_us)
    statement = update(tables.quota_requests).where(*own, columns.decided_at_us.is_not(None))
    found = await connection.execute(statement.values(answer_seen_at_us=first))
    return found.rowcount == 1


def is_over(request: QuotaRequest, now_us: int) -> bool:
    """Whether the time for which more was asked for has passed."""
    return request.expires_at_us is not None and request.expires_at_us <= now_us


def _due(now_us: int) -> ColumnElement[bool]:
    columns = tables.quota_requests.c
    return and_(columns.status.in_(("pending", "approved")), columns.expires_at_us <= now_us)


async def free_name(connection: AsyncConnection, name: str) -> None:
    """Lets a new plan have the name of a deleted one, whose id takes the name's place."""
    plans = tables.plans.c
    deleted = update(tables.plans).where(plans.name == name, plans.deleted_at_us.is_not(None))
    await connection.execute(deleted.values(name=plans.id))


async def remove(connection: AsyncConnection, table: Table, row_id: str) -> None:
    """Deletes a row permanently: nothing refers to it."""
    for records in (QUOTAS, PRICES):
        if records.table is table:
            await records.note_removal(connection, row_id)
    await connection.execute(delete(table).where(table.c.id == row_id))


async def forget_used(connection: AsyncConnection, quota: Quota) -> None:
    """Sets what a quota has counted to 0; what is reserved stays, because it will be settled."""
    counters = tables.counters.c
    statement = update(tables.counters).where(
        counters.scope_id == quota.scope_id,
        counters.scope_kind == quota.scope_kind,
        counters.model == quota.model,
        counters.measure == quota.measure,
        counters.period == quota.period,
    )
    await connection.execute(statement.values(used=0, next_at_us=0, buckets={}))
