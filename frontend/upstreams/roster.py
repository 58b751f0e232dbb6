"""Updates the fleet from the registered upstreams in the database.

Every gateway process reads the same rows twice a second. Running requests always continue: an
upstream that is removed gets no new requests, and is closed when its last request has ended.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.domain.ids import new_id
from frontend.domain.upstreams import Backend
from frontend.errors import GatewayError, StoreUnavailable
from frontend.store import backends as store
from frontend.store.accounts import change_number
from frontend.store.database import Database
from frontend.store.records import Range, Rows
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.member import Member

CHECK_S = 0.5
_AGAIN_S = 5.0
_REPORT_S = 2.0
_TIMEOUT_S = 3.0
MOST = 1000
"""Backends."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Seat:
    """One registered upstream in this process. `error` says why it has no member."""

    connection: tuple[Any, ...] | None = None
    member: Member | None = None
    error: str | None = None
    tried_at_s: float = -1e9
    building: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Roster:
    """`make` makes a member, and raises ValueError with a text for admins. `is_named`: whether its
    addresses are looked up by a name. `changed` is called when requests may go elsewhere."""

    fleet: Fleet
    database: Database
    make: Callable[[Backend], Awaitable[Member]]
    is_named: Callable[[Backend], bool]
    changed: Callable[[], None]
    also: list[Callable[[Rows], Awaitable[None]]] = field(default_factory=list)
    """What else is read when something was changed."""
    gateway_id: str = field(default_factory=new_id)
    rows: dict[str, Backend] = field(default_factory=dict)
    seats: dict[str, Seat] = field(default_factory=dict)
    _number: int = -1
    _reported: dict[str, tuple[int, float]] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follows the database until the block ends."""
        await self._step()
        if builds := [one.building for one in self.seats.values() if one.building is not None]:
            await asyncio.wait(builds, timeout=_TIMEOUT_S)
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            builds = [one.building for one in self.seats.values() if one.building is not None]
            for each in (task, *builds):
                each.cancel()
            await asyncio.gather(task, *builds, return_exceptions=True)

    async def take_up(self) -> None:
        """Applies changes now, and waits briefly for the connections that they need. Raises
        StoreUnavailable or TimeoutError while the database does not answer."""
        await self.read()
        self._apply()
        if builds := [one.building for one in self.seats.values() if one.building is not None]:
            await asyncio.wait(builds, timeout=_TIMEOUT_S)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            await self._step()

    async def _step(self) -> None:
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            await self.read()
        self._apply()
        await self.fleet.release()
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            await self._report()

    async def read(self) -> None:
        """Reads the rows, if something was changed. Raises StoreUnavailable or TimeoutError while
        the database does not answer."""
        async with asyncio.timeout(_TIMEOUT_S), self.database.connect() as rows:
            number = await change_number(rows)
            if number != self._number:
                found = await store.BACKENDS.page(rows, Range(MOST))
                for read in self.also:
                    await read(rows)
                self.rows, self._number = {one.id: one for one in found}, number

    def _apply(self) -> None:
        for gone in self.seats.keys() - self.rows.keys():
            seat = self.seats.pop(gone)
            if seat.building is not None:
                seat.building.cancel()
            if seat.member is not None:
                self.fleet.remove(seat.member)
                self.changed()
        for row in self.rows.values():
            seat = self.seats.setdefault(row.id, Seat())
            if seat.member is not None and _set(seat.member, row):
                self.changed()
            if seat.building is None and self._is_due(seat, row):
                seat.building = asyncio.create_task(self._build(seat, row))

    def _is_due(self, seat: Seat, row: Backend) -> bool:
        """Whether to connect: for the first time, in another way, or where a name may lead now."""
        if seat.connection != _connection(row):
            return True
        if time.monotonic() - seat.tried_at_s < _AGAIN_S:
            return False
        away = seat.member is None or not seat.member.registry.is_reachable
        return away and (seat.member is None or self.is_named(row))

    async def _build(self, seat: Seat, row: Backend) -> None:
        seat.tried_at_s, seat.connection, member = time.monotonic(), _connection(row), None
        try:
            if any(one.name == row.name and one is not seat.member for one in self.fleet.members):
                raise ValueError("the settings have another upstream of this name")
            member = await self.make(row)
            await self.fleet.begin(member)
        except ValueError as error:
            if seat.error != str(error):
                _log.warning("the backend %s cannot be used: %s", row.name, error)
            seat.error = str(error)
            if seat.member is not None:
                self.fleet.remove(seat.member)
                seat.member = None
        except asyncio.CancelledError:
            if member is not None:
                await self.fleet.discard(member)
            raise
        else:
            _set(member, self.rows.get(row.id, row))
            self.fleet.join(member, seat.member)
            seat.member, seat.error = member, None
        finally:
            seat.building = None
        self.changed()

    async def _report(self) -> None:
        """Says how much still runs at those that are drained, for those that wait for their end."""
        now_s, counts = time.monotonic(), dict[str, int]()
        for row in self.rows.values():
            if row.draining_at_us is None:
                self._reported.pop(row.id, None)
                continue
            running = self.running(row.name)
            known, at_s = self._reported.get(row.id, (-1, -1e9))
            if running != known or now_s - at_s >= _REPORT_S:
                counts[row.id] = running
        if not counts:
            return
        async with asyncio.timeout(_TIMEOUT_S), self.database.begin() as connection:
            await store.report(connection, self.gateway_id, counts, time.time_ns() // 1000)
        self._reported |= {one: (number, now_s) for one, number in counts.items()}

    async def slots_of(self, row: Backend) -> int | None:
        """How many requests its engine runs at once; None where the server does not say it now."""
        seat = self.seats.get(row.id)
        if seat is not None and seat.member is not None and seat.member.slots is not None:
            return seat.member.slots
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                member = await self.make(row)
                try:
                    await member.upstream.models()
                finally:
                    await member.upstream.close()
        except (ValueError, GatewayError, TimeoutError):
            return None
        return member.slots

    def running(self, name: str) -> int:
        """Requests of this gateway that run at an upstream of that name."""
        everyone = (*self.fleet.members, *self.fleet.leaving)
        return sum(one.running for one in everyone if one.name == name)


def _set(member: Member, row: Backend) -> bool:
    """Gives a member what the row says, without connecting again. Whether that changed it."""
    draining = row.draining_at_us is not None
    placing = replace(
        member.placing,
        max_running=row.max_concurrent,
        priority=float(row.priority),
        external=row.external,
        groups=frozenset(row.groups),
        labels=row.labels or {},
    )
    before = member.enabled, member.draining, member.placing
    member.enabled, member.draining, member.placing = row.enabled, draining, placing
    return before != (member.enabled, member.draining, member.placing)


def _connection(row: Backend) -> tuple[Any, ...]:
    """The fields that a connection depends on."""
    return (
        row.url, row.engine, row.api_key_env, row.api_key_file, row.models, row.refreshed_at_us,
    )  # fmt: skip
