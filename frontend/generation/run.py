"""Runs canonical requests: takes a slot, calls Triton, sees that nothing ends early in silence.

Knows neither dialects nor HTTP. Whoever stops iterating stops the engine.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from frontend.domain.events import Event
from frontend.domain.generation import Generation
from frontend.domain.images import Drawing, Drawn
from frontend.domain.models import Model
from frontend.domain.sampling import Sampling
from frontend.domain.vectors import Embedding, Ranking, Scores, Vectors
from frontend.errors import BackendFailed, BackendUnavailable, InvalidRequest, NotCapable
from frontend.generation import sizes
from frontend.generation.admission import Admission
from frontend.generation.calls import CallGate
from frontend.generation.structure import Structures
from frontend.upstreams.registry import Catalogue
from frontend.upstreams.triton import unary
from frontend.upstreams.triton.client import Triton

T = TypeVar("T")
_PROMPT_PARAMS = ("messages", "prompt")
_PAIR_PARAMS = ("query", "documents")
"""What the models' steps call their inputs."""
_PROGRAMS = frozenset({"choice", "regex", "grammar", "structural_tag"})
"""Of `structured_outputs`: what a caller writes that is no JSON schema."""
_PIPELINED = 4  # batches of one request in Triton at once: enough to keep it busy


@dataclass(slots=True)
class Runner:
    """The path to one Triton. An `engine_id` must be unique: it is what a cancellation names."""

    triton: Triton
    catalogue: Catalogue
    admission: Admission
    timeout_s: float
    structures: Structures | None = None
    """Without them requests cannot bring schemas."""
    max_text_bytes: int = 4 * 2**20
    """Of one request's prompts or inputs, all together."""
    constraints: frozenset[str] = frozenset()
    """What callers may bind answers to besides schemas."""

    async def find(self, name: str, capability: str) -> Model:
        """The model `name`, if it can do `capability`. Raises NotFound, NotCapable."""
        model = await self.catalogue.find(name)
        if capability not in model.capabilities:
            can = ", ".join(sorted(model.capabilities)) or "nothing"
            raise NotCapable(
                f"the model '{name[:100]}' does not do {capability}; it does {can}",
                model=name[:100],
                capability=capability,
            )
        return model

    async def generate(
        self, model: Model, generation: Generation, engine_id: str
    ) -> AsyncIterator[list[Event]]:
        """The events of one generation, in the order and the groups in which they arrive.

        Its schemas were prepared by `structures`, and its answers are held to them. Raises
        GatewayError.
        """
        assert not generation.schemas, "schemas that nobody checked"
        run = partial(self._generate, model)
        hold = run if self.structures is None else partial(self.structures.hold, run)
        groups = hold(generation, engine_id)
        async with aclosing(groups):  # type: ignore[type-var]
            async for group in groups:
                yield group

    async def _generate(
        self, model: Model, generation: Generation, engine_id: str
    ) -> AsyncIterator[list[Event]]:
        """Events as the engine sends them.

        Raises GatewayError, also when the backend ends the stream before every completion has its
        finish reason.
        """
        _check_fit(model, generation)
        self.check_generations(model, [generation])
        self._check_constraint(generation)
        left_s = await self._admitted()
        unfinished = generation.sampling.choices
        calls = CallGate()
        with self.admission.held(), self._noticing_loss(), _naming(_prompt_params(generation)):
            events = self.triton.generate(model, generation, engine_id, left_s)
            async with aclosing(events):  # type: ignore[type-var]
                async for group in events:
                    # neither an abort that nobody here asked for nor an error is the end of an
                    # answer; the stream is read on to its own end, to be refused there
                    told = [calls.pass_on(e) for e in map(_without_failure, group) if e is not None]
                    unfinished -= sum(event.finish_reason is not None for event in told)
                    if told:
                        yield told
        if unfinished > 0:
            raise BackendFailed("the model stopped before the end of its answer", code="incomplete")

    def check_generations(self, model: Model, generations: list[Generation]) -> None:
        """Raises InvalidRequest for prompts that cannot fit, one by one or all together."""
        sizes.check_generations(model, generations, self.max_text_bytes)

    def _check_constraint(self, generation: Generation) -> None:
        """Refuses what the operator has not allowed; a response format always is."""
        name = None if generation.structure is None else generation.structure.kind
        if name in _PROGRAMS - self.constraints:
            at = f"structured_outputs.{name}"
            raise InvalidRequest(
                f"'{at}' is not allowed on this server; the operator can allow {name!r} with the"
                " setting 'constraints'",
                param=at,
                code="unsupported_parameter",
            )

    async def count_tokens(self, model: Model, generation: Generation, engine_id: str) -> int:
        """Tokens of a prompt. What images become only the engine knows, so it reads them once."""
        if model.tokenizer is None or generation.images:
            once = Sampling(max_tokens=1, temperature=0)
            read_once = replace(generation, sampling=once, structure=None, reply=None)
            groups = self._generate(model, read_once, engine_id)
            counted = 0
            async with aclosing(groups):  # type: ignore[type-var]
                async for group in groups:
                    counted = group[-1].prompt_tokens
            return counted
        self.check_generations(model, [generation])
        left_s = await self._admitted()
        with self.admission.held(), self._noticing_loss(), _naming(_prompt_params(generation)):
            call = (engine_id, left_s)
            return await unary.count_tokens(self.triton, model.tokenizer, generation, call)

    async def embed(self, model: Model, embedding: Embedding, engine_id: str) -> Vectors:
        """The vectors of all texts, in order; long lists travel as several batches at once."""
        sizes.check_embedding(model, embedding, self.max_text_bytes)
        left_s = await self._admitted()
        with self.admission.held(), self._noticing_loss():
            parts = await _all(
                unary.embed(self.triton, model, batch, (f"{engine_id}-{number}", left_s))
                for number, batch in enumerate(embedding.split(model.max_batch))
            )
        return Vectors.join(parts)

    async def rank(self, model: Model, ranking: Ranking, engine_id: str) -> Scores:
        """The scores of all pairs, in order; long lists travel as several batches at once."""
        sizes.check_ranking(model, ranking, self.max_text_bytes)
        left_s = await self._admitted()
        names = dict(zip(_PAIR_PARAMS, ranking.params, strict=True))
        with self.admission.held(), self._noticing_loss(), _naming(names):
            parts = await _all(
                unary.rank(self.triton, model, batch, (f"{engine_id}-{number}", left_s))
                for number, batch in enumerate(ranking.split(model.max_batch))
            )
        values = [value for part in parts for value in part.values]
        return Scores(values, sum(part.prompt_tokens for part in parts))

    async def draw(self, model: Model, drawing: Drawing, engine_id: str) -> Drawn:
        """PNG files, and the tokens of the prompts."""
        sizes.check_drawing(model, drawing)
        left_s = await self._admitted()
        with self.admission.held(), self._noticing_loss():
            return await unary.draw(self.triton, model, drawing, (engine_id, left_s))

    def abandon(self) -> None:
        """Ends everything that waits or runs with an error that says why: the drain is over."""
        self.admission.draining = True
        self.admission.refuse_waiting()
        self.triton.abandon()

    async def _admitted(self) -> float:
        """Waits for a slot; returns the seconds that are left of the request's time."""
        start_s = time.monotonic()
        await self.admission.acquire(self.timeout_s)
        return self.timeout_s - (time.monotonic() - start_s)

    @contextlib.contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        """Tells the catalogue at once when a request finds Triton gone."""
        try:
            yield
        except BackendUnavailable:
            self.catalogue.lost()
            raise


@contextlib.contextmanager
def _naming(params: Mapping[str, str]) -> Iterator[None]:
    """A model's refusal names its own input; the caller knows it by another name."""
    try:
        yield
    except InvalidRequest as error:
        error.param = params.get(error.param or "", error.param)
        raise


def _prompt_params(generation: Generation) -> dict[str, str]:
    return dict.fromkeys(_PROMPT_PARAMS, generation.param)


def _check_fit(model: Model, generation: Generation) -> None:
    """Refuses what this model's repository, built by an older toolkit, has no tensor for."""
    if generation.tools is not None and "reply" not in model.takes:
        raise InvalidRequest(
            f"the model '{model.name}' was built without tools; build its repository again",
            param="tools",
            code="model_not_supported",
        )


def _without_failure(event: Event) -> Event | None:
    """An event that ends nothing in place of a failed one: what it counts was still produced.

    None where nothing was: then the refusal can still have a status of its own.
    """
    if event.finish_reason not in ("abort", "error"):
        return event
    if not event.completion_tokens:
        return None
    return replace(
        event, text="", token_ids=[], logprobs=None, reasoning=None, tool_calls=None,
        finish_reason=None, stop_reason=None,
    )  # fmt: skip


async def _all(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Every result in order, `_PIPELINED` calls at a time; the first failure cancels the others."""
    numbered, results = enumerate(calls), dict[int, T]()

    async def work() -> None:
        for number, call in numbered:
            results[number] = await call

    workers = [asyncio.create_task(work()) for _ in range(_PIPELINED)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return [results[number] for number in sorted(results)]
