"""`/admin/usage` and `/me/usage`: who used what when; `/me/quotas`: what is left."""

import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from frontend.accounts.credits import CREDIT
from frontend.accounts.ledger import Ledger, owner_of
from frontend.accounts.report import (
    GROUPS,
    INTERVALS,
    LARGEST,
    Question,
    parse_moment,
    report,
    zone_of,
)
from frontend.accounts.statement import Holding
from frontend.accounts.windows import DAY_US, HOUR_US, SECOND_US
from frontend.dialects.admin.answers import render
from frontend.dialects.admin.query import parse_query
from frontend.dialects.admin.usage import cursor_of, render_csv, render_usage
from frontend.domain.request import Request
from frontend.errors import InvalidRequest
from frontend.http.client import Client
from frontend.store.reports import Reports, UsageFilter
from frontend.store.rollups import SUMS

_OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
PARAMETERS = ("start", "end", "interval", "tz", "by", "format", "model", "order")
_CSV_ROWS = 20_000
"""Of one answer; the header `x-next-after` says where the next one begins."""


@dataclass(frozen=True, slots=True)
class UsageRoutes:
    """Reports of usage."""

    reports: Reports
    ledger: Ledger = field(repr=False)

    async def all(self, _: Request, client: Client) -> None:
        """GET /admin/usage"""
        await self._report(client, _OWNERS, {}, ("user_id", "key_id", "model"))

    async def own(self, request: Request, client: Client) -> None:
        """GET /me/usage"""
        await self._report(client, ("key_id",), {"user_id": request.user}, ("key_id", "model"))

    async def limits(self, request: Request, client: Client) -> None:
        """GET /me/quotas"""
        shown = await self.ledger.remaining.limits(owner_of(request.caller))
        body = render({"object": "list", "data": shown})
        await client.respond(body)

    async def credits(self, request: Request, client: Client) -> None:
        """GET /me/credits"""
        shown = []
        for one in await self.ledger.remaining.credits(owner_of(request.caller)):
            period = UsageFilter(
                one.period_start_us, one.period_end_us, {f"{one.scope_kind}_id": one.scope_id}
            )
            spent = await self.reports.sums(period)
            shown.append(_show(one, spent["credits_micro"]))
        body = render({"object": "list", "data": shown})
        await client.respond(body)

    async def _report(
        self,
        client: Client,
        allowed: tuple[str, ...],
        fixed: dict[str, str],
        by: tuple[str, ...],
    ) -> None:
        query = parse_query(client.scope["query_string"], (*PARAMETERS, *allowed))
        given = query.filters
        owners = {name: given[name] for name in allowed if name in given} | fixed
        zone = zone_of(given.get("tz", "UTC"))
        now_us = time.time_ns() // 1000
        # without an end: the end of this hour, so that all pages of a report have the same bounds
        hour_end_us = (now_us // HOUR_US + 1) * HOUR_US
        end_us = parse_moment("end", given["end"], zone) if "end" in given else hour_end_us
        start_us = end_us - 30 * DAY_US
        if "start" in given:
            start_us = parse_moment("start", given["start"], zone)
        chosen = UsageFilter(start_us, end_us, owners, given.get("model"))
        interval = _one_of("interval", given.get("interval", "hour"), INTERVALS)
        if "by" in given:
            names = (*GROUPS,) if not fixed else ("key_id", "model")
            by = tuple(_one_of("by", one, names) for one in given["by"].split(",") if one)
        form = _one_of("format", given.get("format", "json"), ("json", "csv"))
        order = _order(given.get("order", "time"), interval, query.after, form)
        question = Question(chosen, interval, zone, tuple(dict.fromkeys(by)), order)
        after = _after(query.after, question)
        if form == "csv":
            rows = await report(self.reports, question, after, _CSV_ROWS + 1)
            headers = []
            if len(rows) > _CSV_ROWS:
                rows = rows[:_CSV_ROWS]
                # a table has no place for it, and a file that is cut must not look complete
                cursor = quote(cursor_of(rows[-1], question.by), safe="~")
                headers.append((b"x-next-after", cursor.encode()))
            body = render_csv(rows, question.by, SUMS)
            await client.respond(body, headers=headers, kind=b"text/csv; charset=utf-8")
            return
        rows = await report(self.reports, question, after, query.limit + 1)
        totals = await self.reports.sums(chosen)
        body = render_usage(rows, query.limit, totals, None if order else question.by)
        await client.respond(body)


def _show(one: Holding, spent_micro: int) -> dict[str, Any]:
    """Credits as numbers, instants as seconds since 1970."""
    balance, plan, following = one.balance, one.plan, one.next_plan
    unlimited = plan is not None and plan.credits is None
    return {
        "object": "credits",
        "scope_kind": one.scope_kind,
        "scope_id": one.scope_id,
        "plan": None if plan is None else plan.name,
        "plan_credits": plan.credits / CREDIT if plan is not None and plan.credits else None,
        "unlimited": unlimited,
        "available": balance.available / CREDIT,
        "reserved": balance.reserved / CREDIT,
        "spent": balance.spent / CREDIT,
        "spent_in_period": spent_micro / CREDIT,
        "expired": balance.expired / CREDIT,
        "period_starts_at": one.period_start_us // SECOND_US,
        "renews_at": None if plan is None else one.period_end_us // SECOND_US,
        "next_plan": None if following is None else following.name,
    }


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        text = f"'{name}' is '{value[:40]}'; it must be one of {', '.join(known)}"
        raise InvalidRequest(text, param=name)
    return value


def _order(order: str, interval: str, after: str, form: str) -> str:
    """The measure to order by; "" for the order of time. An order by size has no next page."""
    if _one_of("order", order, ("time", *LARGEST)) == "time":
        return ""
    if interval != "total" or after or form == "csv":
        text = f"'order' is '{order}', which requires 'interval' to be 'total'"
        also = "'after' and 'format' 'csv' cannot be combined with it"
        raise InvalidRequest(f"{text}; {also}", param="order")
    return order


def _after(text: str, question: Question) -> tuple[int, list[str]] | None:
    if not text:
        return None
    # at most as often as there are names: the last value may contain the mark
    start, *values = text.split("~", len(question.by))
    is_start = start.isascii() and start.isdigit() and len(start) <= 18
    if not is_start or len(values) != len(question.by):
        text = "'after' must be the 'next_after' of the page before, of the same report"
        raise InvalidRequest(text, param="after")
    return int(start), values
