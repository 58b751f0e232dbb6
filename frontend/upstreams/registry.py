"""Which models are served, learned from the upstream alone and kept fresh by polling.

A model that was seen and is not ready now is unavailable, not unknown. While the upstream does not
answer, nothing is ready.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from frontend.domain.models import Model
from frontend.errors import BackendUnavailable, GatewayError, ModelNotFound, NotFound
from frontend.upstreams.protocol import Upstream

_LATEST = ":latest"
_MISS_INTERVAL_S = 0.5
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Registry:
    """Models by every name that they answer to; `mapping` holds the operator's own names."""

    upstream: Upstream
    interval_s: float
    mapping: Mapping[str, str] = field(default_factory=dict)
    _ready: dict[str, Model] = field(default_factory=dict)
    _seen: dict[str, str] = field(default_factory=dict)
    _since_s: dict[str, int] = field(default_factory=dict)
    _reachable: bool = False
    _refreshed_at_s: float = -1e9
    _refreshing: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the upstream answered last time and serves at least one model."""
        return self._reachable and bool(self._ready)

    @property
    def names(self) -> dict[str, Model]:
        """The ready models by every name, in order."""
        mapped = {name: self._ready.get(self._mapped(name)) for name in self.mapping}
        known = self._ready | {name: model for name, model in mapped.items() if model}
        return dict(sorted(known.items()))

    @property
    def models(self) -> list[Model]:
        """The ready models by name, each once."""
        return sorted({m.name: m for m in self._ready.values()}.values(), key=lambda m: m.name)

    @property
    def absent(self) -> list[str]:
        """Names of the models that were ready before and are not now."""
        return sorted(set(self._seen.values()) - {model.name for model in self._ready.values()})

    async def find(self, name: str) -> Model:
        """The ready model that answers to `name`; polls again on a miss.

        Raises NotFound, or BackendUnavailable when it was there before or the upstream is away.
        """
        spelled = [self._mapped(one) for one in spellings(name)]
        model = self._first(spelled)
        if model is None and time.monotonic() - self._refreshed_at_s > _MISS_INTERVAL_S:
            await self.refresh()
            model = self._first(spelled)
        if model is not None:
            return model
        if not self._reachable:
            raise BackendUnavailable("the model server is not available now; try again soon")
        for one in spelled:
            if one in self._seen:
                raise BackendUnavailable(f"the model '{one}' is not loaded now; try again soon")
        raise ModelNotFound(name)

    def _first(self, names: list[str]) -> Model | None:
        return next((self._ready[name] for name in names if name in self._ready), None)

    def own_name(self, name: str) -> str:
        """What the upstream calls the model that `name` leads to, loaded now or not."""
        name = self._mapped(name)
        return self._seen.get(name, name)

    def _mapped(self, name: str) -> str:
        """Where the operator's mapping leads; it has no cycles (`find_cycle`)."""
        while name in self.mapping:
            name = self.mapping[name]
        return name

    async def find_stored(self, names: list[str]) -> str:
        """The first of `names` that can be loaded, as the upstream calls it. Raises NotFound."""
        stored = await self.upstream.stored()
        for name in names:
            if (own := self.own_name(name)) in stored:
                return own
        raise NotFound(
            f"the repository has no model '{names[0][:100]}'; the operator builds it"
            " (toolkit build-repo)",
            param="model",
            code="model_not_found",
        )

    async def load(self, name: str) -> None:
        """Loads a stored model, or what changed of it. Raises BackendFailed."""
        await self.upstream.load(name)
        await self.refresh()

    async def unload(self, name: str) -> None:
        """Unloads a model for every caller. Raises GatewayError."""
        await self.upstream.unload(name)
        await self.refresh()

    async def check(self) -> None:
        """Polls again when the upstream was away. Raises BackendUnavailable when it still is."""
        if not self._reachable and await self.upstream.health():
            await self.refresh()
        if not self._reachable:
            raise BackendUnavailable("the model server is not available now; try again soon")

    def lost(self) -> None:
        """A request found the upstream gone: notes it at once; the next poll corrects it."""
        self._reachable = False

    @contextlib.asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Polls once before the block begins, then regularly until it ends."""
        await self.refresh()
        poll = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            tasks = [poll] if self._refreshing is None else [poll, self._refreshing]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self.interval_s)
            await self.refresh()

    async def refresh(self) -> None:
        """Polls once, however many callers wait. After a failure nothing is served."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
        # a caller that goes away must not end it for the others
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        try:
            models = await self.upstream.models()
        except GatewayError:
            if self._reachable:
                _log.warning("the model server does not answer")
            self._reachable, self._ready = False, {}
        else:
            self._reachable = True
            self._learn(models)
        self._refreshed_at_s = time.monotonic()

    def _learn(self, models: list[Model]) -> None:
        now_s = int(time.time())
        models = [
            model
            if model.created_s
            else replace(model, created_s=self._since_s.setdefault(model.name, now_s))
            for model in models
        ]
        ready = {alias: model for model in models for alias in model.aliases}
        ready |= {model.name: model for model in models}  # a name beats another model's alias
        if ready.keys() != self._ready.keys():
            _log.info("serving %s", ", ".join(sorted(m.name for m in models)) or "nothing")
        self._ready = ready
        self._seen |= {name: model.name for name, model in ready.items()}


def spellings(name: str) -> list[str]:
    """The names by which a model may be known that a client calls `name`, likeliest first.

    A name without a tag means the tag `latest`, as Ollama has it; its clients use the names that
    they read there with the other APIs, too.
    """
    if name.endswith(_LATEST):
        return [name, name.removesuffix(_LATEST)]
    return [name] if ":" in name else [name, name + _LATEST]


def find_cycle(mapping: Mapping[str, str]) -> list[str]:
    """Names that lead to each other in a circle; empty when there are none."""
    for start in mapping:
        seen = [start]
        while (name := mapping.get(seen[-1])) is not None:
            if name in seen:
                return [*seen[seen.index(name) :], name]
            seen.append(name)
    return []
