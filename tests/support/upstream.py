"""A scripted upstream for unit tests, as httpx has its MockTransport; and requests for it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from frontend.accounts.roles import USER
from frontend.domain.events import Event, Events
from frontend.domain.generation import Generation, Tokenized
from frontend.domain.identity import ANONYMOUS, Caller
from frontend.domain.images import ImageRequest, ImageResult
from frontend.domain.models import Model, Version
from frontend.domain.request import Dialect, Outcome, Request
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.errors import BackendFailed, UpstreamLost
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.member import Member
from frontend.upstreams.protocol import Call, Figures
from frontend.upstreams.registry import Registry
from tests.support.events import MODEL


@dataclass
class ScriptedUpstream:
    """Serves `served`, or is away when that is None.

    Each generation has the events of `groups`, then raises `error`; `hangs` waits instead.
    """

    groups: Sequence[list[Event]] = ()
    error: Exception | None = None
    served: list[Model] | None = field(default_factory=lambda: [MODEL])
    hangs: bool = False
    asleep: list[Model] = field(default_factory=list)
    """Known and not loaded at first; `load` waits for `may_load`, then serves them."""
    may_load: asyncio.Event = field(default_factory=asyncio.Event)
    loads: list[str] = field(default_factory=list)
    unloads: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    polls: int = 0
    polled_often: asyncio.Event = field(default_factory=asyncio.Event)
    most_at_once: int = 0
    figures: Figures | None = None

    async def generate(self, model: Model, generation: Generation, call: Call) -> Events:
        self.started.append(call.id)
        self.begun.set()
        self.most_at_once = max(self.most_at_once, len(self.started) - len(self.closed))
        try:
            for group in self.groups:
                yield group
            if self.hangs:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
        finally:
            self.closed.append(call.id)

    async def embed(self, model: Model, embedding: Embedding, call: Call) -> Vectors:
        await self._begin(call)
        return Vectors(bytes(8 * len(embedding.texts)), len(embedding.texts), 2, 5)

    async def rerank(self, model: Model, pairs: Pairs, call: Call) -> Scores:
        await self._begin(call)
        return Scores([0.5] * len(pairs.documents), 7)

    async def draw(self, model: Model, image: ImageRequest, call: Call) -> ImageResult:
        await self._begin(call)
        return ImageResult([b"png"] * image.count, 3)

    async def count(self, model: Model, generation: Generation, call: Call) -> int:
        await self._begin(call)
        return 11

    async def tokenize(
        self, model: Model, generation: Generation, call: Call, *, strings: bool
    ) -> Tokenized:
        await self._begin(call)
        return Tokenized([1, 2], ["a", "b"] if strings else None)

    async def detokenize(self, model: Model, ids: list[int], call: Call) -> str:
        await self._begin(call)
        return "ab"

    async def _begin(self, call: Call) -> None:
        self.started.append(call.id)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    async def models(self) -> list[Model]:
        self.polls += 1
        if self.polls == 3:
            self.polled_often.set()
        await asyncio.sleep(0)
        if self.served is None:
            raise UpstreamLost("away")
        return self.served

    @property
    def manages_models(self) -> bool:
        return True

    @property
    def shares_calls(self) -> bool:
        return False

    @property
    def reads_calls(self) -> bool:
        return False

    async def stored(self) -> dict[str, list[Version]]:
        loaded = {model.name: [Version("1", "loaded")] for model in await self.models()}
        return {model.name: [] for model in self.asleep} | loaded

    async def on_demand(self) -> list[Model]:
        return self.asleep

    async def health(self) -> bool:
        return self.served is not None

    async def load(self, name: str) -> None:
        self.loads.append(name)
        if any(one.name == name for one in self.asleep):
            await self.may_load.wait()
        if name == "broken":
            raise BackendFailed("does not load")
        self.served = [*(self.served or ()), *(one for one in self.asleep if one.name == name)]

    async def unload(self, name: str) -> None:
        self.unloads.append(name)
        self.served = [model for model in self.served or () if model.name != name]

    def abandon(self) -> None:
        self.hangs = False

    async def close(self) -> None:
        return


def fleet_of(*upstreams: ScriptedUpstream, interval_s: float = 60) -> Fleet:
    """A fleet of upstreams `a`, `b`, `c` …"""
    names = "abcdefgh"
    return Fleet(
        [
            Member(name, one, Registry(one, interval_s))
            for name, one in zip(names, upstreams, strict=False)
        ]
    )


def outcome(path: str = "/", dialect: Dialect = Dialect.OPENAI) -> Outcome:
    """Of a request that has just arrived."""
    return Outcome("id", "client-id", "POST", path, dialect)


def request(name: str = "", timeout_s: float = 120, dialect: Dialect = Dialect.OPENAI) -> Request:
    """A request of the user `name`, or of nobody in particular."""
    caller = Caller(name, name, USER) if name else ANONYMOUS
    deadline_s = time.monotonic() + timeout_s
    return Request("id", caller, dialect, deadline_s, outcome(dialect=dialect))
