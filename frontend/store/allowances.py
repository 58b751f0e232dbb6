"""Quotas, requests for more, plans, subscriptions, prices: their rows. Rules are in `accounts`."""

from sqlalchemy import Table, delete, update
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


async def remove(connection: AsyncConnection, table: Table, row_id: str) -> None:
    """Deletes a row for good: nothing refers to it."""
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
