"""Loads models on demand, and unloads them when they are idle.

A model with requests is never unloaded: a request counts before its first await, and a load and an
unload of one model never overlap. An unload that somebody asks for waits until this gateway's
requests have ended. Gateways take turns at making room; it does not know about their requests:
Triton itself lets those that run finish.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
)
from dataclasses import dataclass, field
from typing import Any

from frontend.domain.models import Model
from frontend.domain.room import RoomLimits
from frontend.errors import BackendUnavailable, GatewayError
from frontend.upstreams.protocol import Upstream
from frontend.upstreams.room import Resident, can_fit, choose, fits, last_use, no_room
from frontend.upstreams.stay import Stay

LOADING, UNLOADING = "loading", "unloading"
_RETRY_S = 10.0
"""After a load or an unload that failed: a broken model is not loaded again for every request."""
_ROOM_CHECK_S = 0.5
"""Other gateways' requests end without a word to this one."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Residency:
    """The stays of all models. `loaded` says which are loaded; `refresh` asks the upstream again.

    `keep_s` is for models that do not say it themselves; `known` are all that were ever seen.
    """

    upstream: Upstream
    loaded: Callable[[], Mapping[str, Model]]
    refresh: Callable[[], Awaitable[None]]
    keep_s: float
    limits: RoomLimits
    known: Mapping[str, Model]
    turns: Callable[[], contextlib.AbstractAsyncContextManager[None]] = contextlib.nullcontext
    """Keeps other gateways from making room here meanwhile."""
    _stays: dict[str, Stay] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Under limits one model is loaded at a time, so that two do not take the same room."""
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    def is_on_demand(self, model: Model) -> bool:
        """Whether a request loads it."""
        return self._policy(model) < math.inf

    def stay(self, model: Model) -> Stay:
        """Its stay, which begins with the first call."""
        if (stay := self._stays.get(model.stored)) is None:
            stay = self._stays[model.stored] = Stay(self._policy(model))
            stay.extend()
        return stay

    def _stay_of(self, name: str) -> Stay:
        if (model := self.known.get(name)) is not None:
            return self.stay(model)
        # never seen: what it says about itself is known when it is loaded
        return self._stays.setdefault(name, Stay(self.keep_s))

    def state(self, name: str) -> str:
        """Loading or unloading, while this gateway changes it; else nothing."""
        return stay.state if (stay := self._stays.get(name)) is not None else ""

    def used_at_s(self, name: str) -> float | None:
        """When this gateway last had a request for it, in seconds since 1970."""
        return stay.used_at_s if (stay := self._stays.get(name)) is not None else None

    def loads(self, name: str) -> int:
        """How often it was loaded since this gateway began: its files may be others each time."""
        return stay.loads if (stay := self._stays.get(name)) is not None else 0

    def running(self, name: str) -> int:
        """Requests of this gateway that use the model or wait for it."""
        return stay.running if (stay := self._stays.get(name)) is not None else 0

    def accepts(self, model: Model) -> bool:
        """Whether new requests may be sent: not while a model is unloaded permanently."""
        return self.is_on_demand(model) or self.state(model.stored) != UNLOADING

    @property
    def is_used(self) -> bool:
        """Whether a model has requests, or is being loaded or unloaded."""
        return any(one.running or one.change is not None for one in self._stays.values())

    def _policy(self, model: Model) -> float:
        return self.keep_s if model.keep_s is None else model.keep_s

    def keep(self, model: Model, seconds: float) -> bool:
        """Lets it stay that long after each request from now on, until it is unloaded. False for a
        model that is always loaded."""
        if not self.is_on_demand(model):
            return False
        stay = self.stay(model)
        stay.keep_s = seconds
        stay.extend()
        return True

    def expires_s(self, model: Model) -> float | None:
        """When it is unloaded, in seconds since 1970; None if it stays, or has requests now."""
        stay = self.stay(model)
        if stay.running or stay.until_s == math.inf:
            return None
        return time.time() + max(0.0, stay.until_s - time.monotonic())

    @contextlib.asynccontextmanager
    async def using(self, model: Model, timeout_s: float) -> AsyncIterator[None]:
        """The block has the model loaded; it is not unloaded meanwhile.

        Raises BackendUnavailable if it is not loaded in that time, and what a failed load raised.
        """
        stay = self.stay(model)
        stay.running += 1
        try:
            if self.is_on_demand(model):
                await self._wait_until_loaded(model, stay, timeout_s)
            with stay.active_request():
                yield
        finally:
            stay.running -= 1
            stay.extend()
            self._freed.set()

    async def _wait_until_loaded(self, model: Model, stay: Stay, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                # checked again after each change, which may have been an unload
                while stay.change is not None or model.name not in self.loaded():
                    if stay.change is None:
                        self._check_failure(stay)
                        self._begin(stay, self._load(model, stay), LOADING)
                    assert stay.change is not None
                    # others may wait for the same load
                    await asyncio.shield(stay.change)
        except TimeoutError:
            raise BackendUnavailable(
                f"the model '{model.name}' is being loaded and is not ready yet; try again later"
            ) from None

    def _check_failure(self, stay: Stay) -> None:
        if stay.failure is not None and time.monotonic() - stay.failed_at_s < _RETRY_S:
            raise stay.failure

    def _begin(self, stay: Stay, work: Coroutine[Any, Any, None], state: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        stay.change, stay.state = task, state

        def ended(_: asyncio.Task[None]) -> None:
            stay.change, stay.state = None, ""
            if not task.cancelled():
                task.exception()  # it was logged; nobody may be waiting any more

        task.add_done_callback(ended)
        return task

    async def load(self, name: str) -> None:
        """Loads a stored model, or what changed of it; joins a load that is running. Raises
        GatewayError if the load fails."""
        stay = await self._unchanged(name)
        if stay.change is None:
            self._begin(stay, self._load_asked(name, stay), LOADING)
        assert stay.change is not None
        await asyncio.shield(stay.change)

    async def unload(self, name: str) -> None:
        """Unloads a model for every caller, when the requests that use it have ended. Raises
        GatewayError if that fails."""
        stay = self._stay_of(name)
        while stay.change is not None:
            joins = stay.state == UNLOADING
            await asyncio.wait([stay.change])
            if joins and name not in self.loaded():
                return
        await asyncio.shield(self._begin(stay, self._unload_asked(name, stay), UNLOADING))

    async def _unchanged(self, name: str) -> Stay:
        """Its stay, when nobody unloads it any more."""
        stay = self._stay_of(name)
        while stay.change is not None and stay.state == UNLOADING:
            await asyncio.wait([stay.change])
        return stay

    async def _load_asked(self, name: str, stay: Stay) -> None:
        known = self.known.get(name)
        async with self._room_for(name, 0 if known is None else known.details.size_bytes):
            await self.upstream.load(name)
            await self._poll_until(lambda: name in self.loaded())
        stay.loads += 1  # also in place, where no poll sees it
        if (model := self.loaded().get(name)) is not None:
            stay.keep_s = self._policy(model)
        stay.failure = None
        stay.extend()

    async def _unload_asked(self, name: str, stay: Stay) -> None:
        await stay.drain()
        await self.upstream.unload(name)
        await self._poll_until(lambda: name not in self.loaded())

    def see(self, names: Iterable[str]) -> None:
        """Models are loaded now that were not at the last poll, by this gateway or another one."""
        for name in names:
            stay = self._stay_of(name)
            stay.loaded_at_s = time.monotonic()
            stay.loads += 1

    def has_room(self, model: Model) -> bool:
        """Whether no other model has to go for it."""
        loaded = (one for one in self.loaded().values() if not one.version_of)
        sizes = [one.details.size_bytes for one in loaded]
        return self.limits.holds([*sizes, model.details.size_bytes])

    @contextlib.asynccontextmanager
    async def _room_for(self, name: str, size_bytes: int) -> AsyncIterator[None]:
        """The block may load the model. Raises BackendUnavailable when there is no room for it."""
        if not self.limits.is_limited or name in self.loaded():
            yield
            return
        try:
            async with asyncio.timeout(self.limits.wait_s) as waiting, self._turn, self.turns():
                # those that had the turn before have changed what is loaded
                await self._poll_anew()
                if name not in self.loaded():
                    await self._make_room(name, size_bytes)
                waiting.reschedule(None)
                yield
        except TimeoutError:
            raise BackendUnavailable(
                f"there is no room for the model '{name}' now: the models that are loaded have"
                " requests; try again later"
            ) from None

    async def _make_room(self, name: str, size_bytes: int) -> None:
        while True:
            self._freed.clear()
            residents = await self._residents()
            if fits(residents, size_bytes, self.limits):
                return
            if not can_fit(residents, size_bytes, self.limits):
                raise BackendUnavailable(no_room(name, size_bytes, residents, self.limits))
            if chosen := choose(residents, size_bytes, self.limits):
                # one at a time: meanwhile requests may come for the others
                await self._evict(chosen[0], name)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ROOM_CHECK_S):
                    await self._freed.wait()

    async def _residents(self) -> list[Resident]:
        stored = await self.upstream.stored()
        now_s, wall_s = time.monotonic(), time.time()
        residents = []
        for name, model in self.loaded().items():
            if model.version_of:
                continue  # it is unloaded together with its model
            stay = self.stay(model)
            on_demand = self.is_on_demand(model)
            idle = on_demand and not stay.running and stay.change is None
            residents.append(
                Resident(
                    name,
                    model.details.size_bytes,
                    on_demand,
                    idle,
                    now_s - stay.loaded_at_s,
                    wall_s - (stay.used_at_s or 0.0),
                    wall_s - last_use(name, stored),
                )
            )
        return residents

    async def _evict(self, name: str, other: str) -> None:
        stay = self._stay_of(name)
        _log.info("unloading %s, to make room for %s", name, other)
        await asyncio.shield(self._begin(stay, self._unload_asked(name, stay), UNLOADING))

    async def _poll_until(self, condition: Callable[[], bool]) -> None:
        # twice: a poll that had begun before does not see the change
        await self.refresh()
        if not condition():
            await self.refresh()

    async def _poll_anew(self) -> None:
        # as `_poll_until`, whatever the first poll shows
        await self.refresh()
        await self.refresh()

    async def _load(self, model: Model, stay: Stay) -> None:
        async with self._room_for(model.stored, model.details.size_bytes):
            if model.name not in self.loaded():  # else another gateway was faster
                await self._load_now(model, stay)

    async def _load_now(self, model: Model, stay: Stay) -> None:
        started = time.monotonic()
        _log.info("loading %s on demand", model.name)
        try:
            await self.upstream.load(model.stored)
            await self._poll_until(lambda: model.name in self.loaded())
            if model.name not in self.loaded():
                raise BackendUnavailable(f"the model '{model.name}' was loaded and is not ready")
        except GatewayError as error:
            stay.failure, stay.failed_at_s = error, time.monotonic()
            _log.warning("%s was not loaded: %s", model.name, error)
            raise
        # a request's `keep_alive` counts until the model is unloaded
        stay.keep_s, stay.failure = self._policy(model), None
        stay.extend()
        _log.info("loaded %s in %.1f s", model.name, time.monotonic() - started)

    def unload_idle(self, models: Iterable[Model]) -> None:
        """Begins to unload those of the loaded models that have expired."""
        for model in models:
            if not self.is_on_demand(model):
                continue
            stay = self.stay(model)
            if stay.idle:
                self._begin(stay, self._unload(model, stay), UNLOADING)

    async def _unload(self, model: Model, stay: Stay) -> None:
        _log.info("unloading %s, which was idle", model.name)
        try:
            await self.upstream.unload(model.stored)
            await self.refresh()
        except GatewayError as error:
            # else the next poll, two seconds later, would try again
            stay.until_s = time.monotonic() + _RETRY_S
            _log.warning("%s was not unloaded: %s", model.name, error)
            return
        stay.keep_s = self._policy(model)
        stay.extend()

    async def close(self) -> None:
        """Ends what is being loaded or unloaded."""
        tasks = [stay.change for stay in self._stays.values() if stay.change is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
