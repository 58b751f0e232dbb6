"""The models that one upstream serves, read from it by polling.

A model that was seen and is not ready now is unavailable, not unknown. While the upstream does not
answer, nothing is ready. Which model a name leads to is in `served.py`.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from frontend.domain.models import Model
from frontend.domain.room import UNLIMITED_ROOM, RoomLimits
from frontend.errors import BackendTimeout, BackendUnavailable, GatewayError, UpstreamLost
from frontend.upstreams.names import Match
from frontend.upstreams.protocol import Upstream
from frontend.upstreams.residency import Residency
from frontend.upstreams.served import Served

_MISS_INTERVAL_S = 0.5
_READ_INTERVAL_S = 30.0
_MOST_INTERVALS, _MOST_PAUSE_S = 8, 20.0
"""Between two polls of a server that does not answer."""
_BUSY_S = 30.0
"""How long a server whose polls time out stays in use after the last answer to a request."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Registry:
    """Models by every name that they answer to; `mapping` holds the operator's own names."""

    upstream: Upstream
    interval_s: float
    mapping: Mapping[str, str] = field(default_factory=dict)
    keep_s: float = math.inf
    limits: RoomLimits = UNLIMITED_ROOM
    residency: Residency = field(init=False)
    failure: str | None = None
    """Why the last poll failed; None where it did not."""
    failures: int = 0
    """Polls that failed one after the other."""
    random: Callable[[], float] = random.random
    served: Served = field(init=False)
    _reachable: bool = False
    _learned: bool = False
    _answered_at_s: float = -math.inf
    _refreshed_at_s: float = -1e9
    _worked_at_s: float = -math.inf
    _is_silent: bool = False
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _refreshing: asyncio.Task[None] | None = None
    _loaded: dict[str, Model] = field(default_factory=dict)
    _on_demand: dict[str, Model] = field(default_factory=dict)
    _read_at_s: float = -1e9

    def __post_init__(self) -> None:
        self.served = Served(self.mapping)
        self.residency = Residency(
            self.upstream,
            lambda: self._loaded,
            self.refresh,
            self.keep_s,
            self.limits,
            self.served.known,
        )

    @property
    def is_ready(self) -> bool:
        """Whether the upstream answered last time and serves at least one model, or loads it."""
        return self._reachable and bool(self.served.ready)

    @property
    def is_reachable(self) -> bool:
        """Whether the upstream answered last time."""
        return self._reachable

    @property
    def is_silent(self) -> bool:
        """Whether the last poll got no answer in time; a busy server may still answer requests."""
        return self._is_silent

    @property
    def was_read(self) -> bool:
        """Whether the upstream ever said what it serves."""
        return self._learned

    @property
    def polled_s_ago(self) -> float:
        """Seconds since the last poll that the upstream answered."""
        return time.monotonic() - self._answered_at_s

    @property
    def ready(self) -> Mapping[str, Model]:
        """The ready models by their names and aliases."""
        # one failed poll does not mean that a loaded model is not loaded any more
        return self.served.ready if self._reachable else {}

    @property
    def names(self) -> dict[str, Model]:
        """The ready models by every name, in order."""
        return self.served.names if self._reachable else {}

    @property
    def models(self) -> list[Model]:
        """The ready models by name, each once."""
        return sorted({m.name: m for m in self.ready.values()}.values(), key=lambda m: m.name)

    @property
    def absent(self) -> list[str]:
        """Names of the models that were ready before and are not now."""
        return self.served.absent(self.models)

    @property
    def loaded(self) -> list[Model]:
        """The models that are loaded now, by name."""
        loaded = self._loaded.values() if self._reachable else ()
        return sorted(loaded, key=lambda model: model.name)

    def is_loaded(self, name: str) -> bool:
        """Whether the model of this name is loaded now."""
        return self._reachable and name in self._loaded

    def state(self, name: str) -> str:
        """Of a model, by its own name: one of `domain.copies.STATES`."""
        if not self._reachable:
            return "unreachable"
        return self.residency.state(name) or ("loaded" if name in self._loaded else "unloaded")

    def own(self, name: str) -> Model | None:
        """The model whose own name this is, if requests may be sent to it."""
        model = self.ready.get(name)
        if model is None or model.name != name or not self.residency.accepts(model):
            return None
        return model

    def match(self, names: Sequence[str]) -> Match | None:
        """The ready model that the likeliest of the names leads to."""
        return self.served.match(names) if self._reachable else None

    async def look_again(self) -> None:
        """Polls, if the last poll is some time ago."""
        # names come from strangers: unknown ones must not mean a poll for each request
        if time.monotonic() - self._refreshed_at_s > _MISS_INTERVAL_S:
            await self.refresh()

    async def find_stored(self, names: list[str]) -> str | None:
        """The first of `names` that can be loaded, as the upstream calls it."""
        stored = await self.upstream.stored()
        return next((own for name in names if (own := self.served.own_name(name)) in stored), None)

    async def load(self, name: str) -> None:
        """Loads a stored model, or what changed of it. Raises GatewayError if the load fails."""
        await self.residency.load(name)

    async def unload(self, name: str) -> None:
        """Unloads a model for every caller, when its requests have ended. Raises GatewayError if
        that fails."""
        await self.residency.unload(name)

    async def check(self) -> bool:
        """Polls again when the upstream was away. Whether it answers."""
        if not self._reachable and await self.upstream.health():
            await self.refresh()
        return self._reachable

    def worked(self) -> None:
        """A request had an answer."""
        self._worked_at_s = time.monotonic()

    def lost(self) -> None:
        """A request lost its connection: the upstream counts as gone until it answers a poll.

        One such answer does not mean that the server is down, so the poll begins now.
        """
        self._reachable = False
        self._woken.set()

    @property
    def pause_s(self) -> float:
        """Seconds until the next poll: longer after each failure, and as usual after an answer.
        By chance a little more or less, so that gateways do not all ask a server that comes back
        at the same moment."""
        if not self.failures:
            return self.interval_s
        most_s = max(min(_MOST_INTERVALS * self.interval_s, _MOST_PAUSE_S), self.interval_s)
        # the exponent is bounded: a float has no room for the power of an outage of days
        pause_s = min(self.interval_s * 2.0 ** min(self.failures - 1, 10), most_s)
        return pause_s * (0.8 + 0.4 * self.random())

    @contextlib.asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Polls once before the block begins, then regularly until it ends."""
        await self.refresh()
        poll = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            await self.residency.close()
            # a poll that somebody waits for is a task of its own
            tasks = [poll] if self._refreshing is None else [poll, self._refreshing]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pause_s):
                    await self._woken.wait()
                    # a server that cuts every answer must not be polled for each of them
                    rest_s = self._refreshed_at_s + _MISS_INTERVAL_S - time.monotonic()
                    await asyncio.sleep(rest_s)
            self._woken.clear()
            await self.refresh()
            self.residency.unload_idle(self.loaded)

    async def refresh(self) -> None:
        """Polls once, however many callers wait. After a failure nothing is ready."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
        # a caller that goes away must not end it for the others
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        try:
            models = await self.upstream.models()
            await self._read_on_demand()
        except BackendTimeout as error:
            self.failure, self.failures = _reason(error), self.failures + 1
            # a busy server that still answers requests is not gone: what is known of it is old
            self._is_silent = True
            if time.monotonic() - self._worked_at_s > _BUSY_S:
                self._note_absence()
        except GatewayError as error:
            self.failure, self.failures = _reason(error), self.failures + 1
            self._note_absence()
        except Exception:  # whatever a server sent: without the next poll it would be lost for good
            _log.exception("the model server's list of models cannot be read")
            self.failure, self.failures = "internal error", self.failures + 1
            self._note_absence()
        else:
            self._reachable = self._learned = True
            self._is_silent = False
            self.failure, self.failures = None, 0
            self._answered_at_s = time.monotonic()
            before, self._loaded = self._loaded, {model.name: model for model in models}
            new = self._loaded.keys() - before.keys()
            on_demand = [model for model in models if self.residency.is_on_demand(model)]
            self._on_demand |= {model.name: model for model in on_demand}
            asleep = [one for name, one in self._on_demand.items() if name not in self._loaded]
            # in this order a loaded model wins an alias over one that is not loaded
            self.served.learn([*asleep, *models])
            if self._refreshed_at_s > 0:  # else they may have been there for long
                self.residency.see(new)
        self._refreshed_at_s = time.monotonic()

    def _note_absence(self) -> None:
        if self._reachable or self._refreshed_at_s < 0:  # it stopped, or never answered
            _log.warning("the model server does not answer; trying again until it does")
        self._reachable = False

    async def _read_on_demand(self) -> None:
        """The repository on disk changes rarely, and is read rarely."""
        if time.monotonic() - self._read_at_s >= _READ_INTERVAL_S:
            self._read_at_s = time.monotonic()
            stored = await self.upstream.on_demand()
            self._on_demand |= {one.name: one for one in stored if self.residency.is_on_demand(one)}


def _reason(error: GatewayError) -> str:
    """Why a poll failed, for operators; what the error says itself is for callers."""
    if isinstance(error, UpstreamLost | BackendUnavailable):
        return "nothing answers at its address"
    return "the poll took too long" if isinstance(error, BackendTimeout) else error.message
