"""`/admin/backends`: upstreams of the settings, which are only shown, and those of the database."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.backends import MAX_WAIT_S, Backends, NewBackend
from frontend.dialects.admin.backends import (
    BackendBody,
    BackendEdit,
    changes_of,
    columns_of,
    show_backend,
    show_entry,
)
from frontend.dialects.admin.query import parse_query
from frontend.domain.request import Request
from frontend.domain.upstreams import Backend, UpstreamEntry
from frontend.errors import InvalidRequest, StoreUnavailable
from frontend.http.client import Client
from frontend.routes.accounts import Desk, parameter
from frontend.upstreams.member import Member
from frontend.upstreams.roster import Roster


@dataclass(frozen=True, slots=True)
class BackendRoutes:
    """Backends. `entries` are those of the settings."""

    desk: Desk
    backends: Backends
    roster: Roster
    entries: tuple[UpstreamEntry, ...] = ()

    async def list(self, _: Request, client: Client) -> None:
        """GET /admin/backends"""
        data = [self._show_entry(one) for one in self.entries]
        data += [self._show(one) for one in await self.backends.all()]
        page = {"object": "list", "data": data, "has_more": False, "next_after": None}
        await self.desk.send(client, page)

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/backends/{id}"""
        name = parameter(client)
        if (entry := next((one for one in self.entries if one.name == name), None)) is not None:
            await self.desk.send(client, self._show_entry(entry))
            return
        one = await self.backends.get(name)
        shown = self._show(one)
        if one.draining_at_us is not None:
            # of every gateway: a client that waits for the end of a drain must see all of them
            others = await self.backends.count_running(one.id)
            shown["running"] = max(shown["running"], others)
        await self.desk.send(client, shown)

    async def register(self, request: Request, client: Client) -> None:
        """POST /admin/backends/register"""
        body, actor = await self.desk.read(request, client, BackendBody)
        made = await self.backends.register(actor, NewBackend(**columns_of(body)))
        await self._follow()
        await self.desk.send(client, self._show(made), 201)

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/backends/{id}"""
        body, actor = await self.desk.read(request, client, BackendEdit)
        values, revision = changes_of(body)
        revision = revision or _matched(client)
        edited = await self.backends.edit(actor, parameter(client), values, revision)
        await self._follow()
        await self.desk.send(client, self._show(edited))

    async def enable(self, request: Request, client: Client) -> None:
        """POST /admin/backends/{id}/enable"""
        await self._change(request, client, self.backends.enable)

    async def disable(self, request: Request, client: Client) -> None:
        """POST /admin/backends/{id}/disable"""
        await self._change(request, client, self.backends.disable)

    async def drain(self, request: Request, client: Client) -> None:
        """POST /admin/backends/{id}/drain"""
        await self._change(request, client, self.backends.drain)

    async def refresh(self, request: Request, client: Client) -> None:
        """POST /admin/backends/{id}/refresh"""
        await self._change(request, client, self.backends.refresh)

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/backends/{id}"""
        wait_s = _wait_of(client)
        actor = self.desk.actor(request, client)
        gone = await self.backends.delete(actor, parameter(client), wait_s)
        await self._follow()
        await self.desk.send(client, {"id": gone.id, "object": "backend", "deleted": True})

    async def _change(
        self,
        request: Request,
        client: Client,
        change: Callable[[Actor, str], Awaitable[Backend]],
    ) -> None:
        changed = await change(self.desk.actor(request, client), parameter(client))
        await self._follow()
        await self.desk.send(client, self._show(changed))

    async def _follow(self) -> None:
        """Applies a change to this gateway before the answer, which shows its effect."""
        with suppress(StoreUnavailable, TimeoutError):
            await self.roster.take_up()

    def _show(self, one: Backend) -> dict[str, Any]:
        seat = self.roster.seats.get(one.id)
        member = None if seat is None else seat.member
        error = None if seat is None else seat.error
        return show_backend(one, _state(member, error, self.roster.running(one.name)))

    def _show_entry(self, one: UpstreamEntry) -> dict[str, Any]:
        member = self.roster.fleet.member(one.name)
        return show_entry(one, _state(member, None, self.roster.running(one.name)))


def _state(member: Member | None, error: str | None, running: int) -> dict[str, Any]:
    known: dict[str, Any] = {"running": running, "error": error}
    if member is None:
        return {**known, "status": "failed" if error else "starting", "models": []}
    reachable = member.registry.is_reachable
    status = "ready" if reachable else "unreachable"
    status = "draining" if member.draining else status
    age_s = member.registry.polled_s_ago
    return {
        **known,
        "status": status if member.enabled else "disabled",
        "reachable": reachable,
        "models": [one.name for one in member.registry.models],
        "engine_slots": member.slots,
        "utilization": member.utilization,
        "queue": member.queue,
        "polled_s_ago": round(age_s, 1) if age_s < 1e9 else None,
        "stale": member.is_stale,
        "breakers": {model: state.value for model, state in member.broken.items()},
        "error": error or member.problem,
    }


def _matched(client: Client) -> str | None:
    """The revision in the header `if-match`."""
    for name, value in client.scope["headers"]:
        if name == b"if-match":
            given: str = value.decode("latin-1").strip()
            return None if given == "*" else given.strip('"')
    return None


def _wait_of(client: Client) -> float:
    given = parse_query(client.scope["query_string"], ("wait_s",)).filters.get("wait_s", "0")
    if not given.isdigit() or len(given) > 4 or int(given) > MAX_WAIT_S:
        text = f"'wait_s' is '{given[:40]}'; it must be a whole number from 0 to {MAX_WAIT_S:g}"
        raise InvalidRequest(text, param="wait_s")
    return float(given)
