"""`/admin/audit` and `/me/audit`: searches, single records with their content, and exports."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import orjson

from frontend.accounts.report import parse_moment, zone_of
from frontend.audit.search import (
    Search,
    csv_head,
    csv_row,
    line_of,
    own_line_of,
    show,
    show_own,
)
from frontend.dialects.admin.audit import (
    PARAMETERS,
    read_cursor,
    read_flag,
    read_statuses,
    read_words,
)
from frontend.dialects.admin.query import parse_query
from frontend.domain.request import Request
from frontend.errors import InvalidRequest, NotFound
from frontend.http.client import Client
from frontend.routes.accounts import parameter
from frontend.store.audit import AuditFilter

_FORMATS = {"json": b"application/json", "csv": b"text/csv; charset=utf-8"}
_FORMATS["jsonl"] = b"application/x-ndjson"
_EVER_US = 2**51 - 1


@dataclass(frozen=True, slots=True)
class AuditRoutes:
    """The audit, to reviewers and to everybody about themselves."""

    search: Search

    async def all(self, _: Request, client: Client) -> None:
        """GET /admin/audit/search"""
        await self._search(client, None)

    async def own(self, request: Request, client: Client) -> None:
        """GET /me/audit"""
        await self._search(client, request.user)

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/audit/records/{id}"""
        await self._one(client, None)

    async def get_own(self, request: Request, client: Client) -> None:
        """GET /me/audit/{id}"""
        await self._one(client, request.user)

    async def artifact(self, _: Request, client: Client) -> None:
        """GET /admin/audit/artifacts/{id}"""
        found = await self.search.artifact(parameter(client))
        if found is None:
            raise NotFound("there is no such artifact; its record may have been removed")
        # whatever it is, a browser must save it and not show it as a page of this origin
        headers = [(b"content-disposition", b"attachment")]
        await client.respond(found[1], headers=headers, kind=b"application/octet-stream")

    async def _one(self, client: Client, user_id: str | None) -> None:
        given = parameter(client)
        number = int(given) if given.isascii() and given.isdigit() and len(given) <= 19 else 0
        found = await self.search.find(number, user_id) if number < 2**63 else None
        if found is None:
            raise NotFound(f"there is no audit record '{given[:40]}'")
        shown = (show if user_id is None else show_own)(*found)
        await client.respond(orjson.dumps(shown))

    async def _search(self, client: Client, user_id: str | None) -> None:
        owners = () if user_id is not None else ("user_id", "group_id")
        query = parse_query(client.scope["query_string"], (*PARAMETERS, *owners))
        given = query.filters
        chosen = _filter(given, user_id)
        kind = given.get("format", "json")
        if kind not in _FORMATS:
            text = f"'format' is '{kind[:40]}'; it must be one of {', '.join(_FORMATS)}"
            raise InvalidRequest(text, param="format")
        with_content = read_flag("content", given)
        if kind != "json":
            line = line_of if user_id is None else own_line_of
            render = csv_row if kind == "csv" else line
            pieces = self.search.export(chosen, render, with_content=with_content)
            await _send(client, pieces, kind)
            return
        rows = await self.search.page(chosen, read_cursor(query.after), query.limit + 1)
        more, rows = len(rows) > query.limit, rows[: query.limit]
        contents = {}
        if with_content and rows:
            contents = await self.search.store.contents([row.id for row in rows])
        shown = show if user_id is None else show_own
        body = {
            "object": "list",
            "data": [shown(row, contents.get(row.id)) for row in rows],
            "has_more": more,
            "next_after": str(rows[-1].id) if more else None,
        }
        await client.respond(orjson.dumps(body))


def _filter(given: dict[str, str], user_id: str | None) -> AuditFilter:
    zone = zone_of(given.get("tz", "UTC"))
    start_us = parse_moment("start", given["start"], zone) if "start" in given else 0
    # without an end: until now, so that an export ends
    end_us = time.time_ns() // 1000 + 1
    if "end" in given:
        end_us = parse_moment("end", given["end"], zone)
    if start_us >= end_us:
        raise InvalidRequest("'start' must be before 'end'", param="start")
    return AuditFilter(
        max(start_us, 0),
        min(end_us, _EVER_US),
        given.get("user_id") if user_id is None else user_id,
        given.get("group_id"),
        given.get("model"),
        read_statuses(given["status"]) if "status" in given else (),
        given.get("request_id"),
        read_words(given["text"]) if "text" in given else (),
    )


async def _send(client: Client, pieces: AsyncIterator[bytes], kind: str) -> None:
    """A body of unknown length. The head goes out with the first piece: what fails before it is
    an error response."""
    name = f'attachment; filename="audit.{kind}"'.encode()
    headers = [(b"content-type", _FORMATS[kind]), (b"content-disposition", name)]
    started, first = False, csv_head() if kind == "csv" else b""
    with client.watched():
        async with aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                if not started:
                    await _start(client, headers)
                    if first:
                        await client.send(
                            {"type": "http.response.body", "body": first, "more_body": True}
                        )
                    started = True
                await client.send({"type": "http.response.body", "body": piece, "more_body": True})
    if not started:
        await _start(client, headers)
    await client.send({"type": "http.response.body", "body": b"" if started else first})


async def _start(client: Client, headers: list[tuple[bytes, bytes]]) -> None:
    await client.send({"type": "http.response.start", "status": 200, "headers": [*headers]})
