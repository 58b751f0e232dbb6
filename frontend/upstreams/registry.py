"""Which models there are, learned from Triton alone and kept fresh by polling.

A model that was seen and is not ready now is unavailable, not unknown. While Triton does not
answer, nothing is ready.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tritonclient.grpc import model_config_pb2

from frontend.domain.models import Details, ImageLimits, Model
from frontend.errors import BackendUnavailable, GatewayError, ModelNotFound
from frontend.upstreams.triton.client import Triton

CONTRACT = "1"
_LATEST = ":latest"
_DETAILS = {"family", "parameters", "size_bytes", "quantization"}
_GENERATION = "toolkit.generation"
_MISS_INTERVAL_S = 0.5
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Catalogue:
    """Models by every name that they answer to; `mapping` holds the operator's own names."""

    triton: Triton
    interval_s: float
    mapping: Mapping[str, str] = field(default_factory=dict)
    _ready: dict[str, Model] = field(default_factory=dict)
    _seen: dict[str, str] = field(default_factory=dict)
    _since_s: dict[str, int] = field(default_factory=dict)
    _generations: dict[str, str] = field(default_factory=dict)
    _reachable: bool = False
    _refreshed_at_s: float = -1e9
    _refreshing: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether Triton answered last time and serves at least one model."""
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

    async def find(self, name: str) -> Model:
        """The ready model that answers to `name`; looks again once on a miss.

        Raises NotFound, or BackendUnavailable when it was there before or Triton is away.
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
        """What Triton calls the model that `name` leads to, loaded now or not."""
        name = self._mapped(name)
        return self._seen.get(name, name)

    def _mapped(self, name: str) -> str:
        """Where the operator's mapping leads; it has no cycles (`find_cycle`)."""
        while name in self.mapping:
            name = self.mapping[name]
        return name

    async def check(self) -> None:
        """Looks again when Triton was away. Raises BackendUnavailable when it still is."""
        if not self._reachable:
            await self.refresh()
        if not self._reachable:
            raise BackendUnavailable("the model server is not available now; try again soon")

    def lost(self) -> None:
        """A request found Triton gone: says so at once, the next poll corrects it."""
        self._reachable = False

    @contextlib.asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Looks once before the block begins, and again and again until it ends."""
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
        """Asks Triton once, however many callers wait. Failure empties the catalogue."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
        # a caller that goes away must not end it for the others
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        try:
            configs = [answer.config for answer in await self.triton.ready_models()]
        except GatewayError:
            if self._reachable:
                _log.warning("Triton does not answer")
            self._reachable, self._ready = False, {}
        else:
            self._reachable = True
            self._end_orphans(configs)
            self._learn([model for config in configs if (model := read_model(config))])
        self._refreshed_at_s = time.monotonic()

    def _end_orphans(self, configs: list[model_config_pb2.ModelConfig]) -> None:
        """A model with a new generation replaced one that died with what it was asked."""
        generations = {c.name: c.parameters[_GENERATION].string_value for c in configs}
        for name, generation in generations.items():
            if generation and self._generations.get(name, generation) != generation:
                _log.warning("%s was restarted; its streams end", name)
                self.triton.abandon_engine(name)
            if generation or name not in self._generations:
                self._generations[name] = generation

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


def read_model(config: model_config_pb2.ModelConfig) -> Model | None:
    """What a config says about a public model; None for any other, or an unreadable one."""
    values = {key: value.string_value for key, value in config.parameters.items()}
    if not (kind := values.get("toolkit.kind")):
        return None
    if values.get("toolkit.contract") != CONTRACT:
        _log.warning("%s speaks contract %s", config.name, values.get("toolkit.contract"))
        return None
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return Model(
            name=config.name,
            kind=kind,
            aliases=tuple(json.loads(values.get("toolkit.aliases") or "[]")),
            capabilities=frozenset(json.loads(values.get("toolkit.capabilities") or "[]")),
            context_length=_integer(values.get("toolkit.context_length")),
            dimensions=_integer(values.get("toolkit.dimensions")),
            image=_image(values.get("toolkit.image")),
            cancel=values.get("toolkit.cancel") or None,
            owned_by=values.get("toolkit.owned_by") or "triton",
            created_s=_integer(values.get("toolkit.created")) or 0,
            max_batch=max(1, config.max_batch_size),
            tokenizer=_tokenizer(config),
            matryoshka=frozenset(map(int, json.loads(values.get("toolkit.matryoshka") or "[]"))),
            normalized=values.get("toolkit.normalized") != "false",
            takes=frozenset(tensor.name for tensor in config.input),
            max_text_bytes=_integer(values.get("toolkit.max_text_bytes")),
            details=_details(values),
        )
    _log.warning("%s has toolkit parameters that cannot be read", config.name)
    return None


def _tokenizer(config: model_config_pb2.ModelConfig) -> str | None:
    for step in config.ensemble_scheduling.step:
        if set(step.input_map) == {"prompt"} and "token_ids" in step.output_map:
            return str(step.model_name)
    return None


def _integer(text: str | None) -> int | None:
    return int(text) if text else None


def _details(values: dict[str, str]) -> Details:
    known = json.loads(values.get("toolkit.details") or "{}")
    digest = values.get("toolkit.digest", "").removeprefix("sha256:")
    return Details(**{n: known[n] for n in known.keys() & _DETAILS}, digest=digest)


def _image(text: str | None) -> ImageLimits | None:
    if not text:
        return None
    known: dict[str, Any] = json.loads(text)
    return ImageLimits(**{name: known[name] for name in ImageLimits.__dataclass_fields__})
