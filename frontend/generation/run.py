"""One authorized request to one model: what it infers is reserved, scheduled and counted.

`Path.open` makes a run and settles it, whichever way the request ends; the run itself settles
nothing. It does not know how requests share the upstreams' slots.
"""

import itertools
import operator
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from frontend.domain.events import Event, Events
from frontend.domain.generation import Conversation, Generation, ImageLink, TokenIds, Tokenized
from frontend.domain.images import ImageRequest, ImageResult, patches
from frontend.domain.models import Input, Model
from frontend.domain.request import Request
from frontend.domain.usage import Usage, UsageCount
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.errors import BackendFailed, BackendUnavailable
from frontend.generation import sizes
from frontend.generation.cached import NOT_FOUND, CachedWork, Found
from frontend.generation.calls import CallBuffer
from frontend.generation.charge import Charge, Expected, expected_texts
from frontend.generation.cover import Cover, most_text_tokens
from frontend.generation.policy import check_generation, require_capability
from frontend.generation.salts import salt
from frontend.generation.shares import Rule
from frontend.generation.speeds import Stopwatch
from frontend.upstreams.fanout import Numbered, fan_out
from frontend.upstreams.placement import Need, Place

if TYPE_CHECKING:
    from frontend.generation.path import Path

Answer = TypeVar("Answer")
MOVED = (BackendUnavailable, BackendFailed)
"""Errors after which another upstream gets the request."""
_BYTES_PER_TOKEN = 3.5
"""About; decides only between upstreams that have different context lengths."""


@dataclass(slots=True)
class Run:
    """One authorized request to one model. Everything it infers is counted in its usage."""

    path: "Path"
    request: Request
    model: Model
    count: UsageCount
    _charge: Charge
    cover: Cover | None = None
    rule: Rule | None = None
    """The canary that the asked name leads to."""
    capability: str | None = None
    _covered: set[int] = field(default_factory=set)
    """Prompts whose first attempt is reserved already."""
    _attempts: Iterator[int] = field(default_factory=itertools.count)
    _found: dict[int, Found] = field(default_factory=dict)
    """What the response cache has of several prompts."""
    _reloads: int = 0
    _is_whole: bool = False
    """Its client gets nothing before the whole answer, so that another upstream may give it."""
    was_lowered: bool = False
    """Whether a budget has less left than an answer may take."""

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return self.count.total

    def require(self, capability: str) -> None:
        """Raises NotCapable when the model lacks the capability."""
        require_capability(self.model, self.model.name, capability)

    async def prepare(
        self, generation: Generation, links: tuple[ImageLink, ...] = (), *, whole: bool
    ) -> Generation:
        """The generation with its images read and its schemas checked; what the client should know
        becomes a warning.

        `whole`: the answer is not streamed. Raises InvalidRequest for what cannot be used.
        """
        self._is_whole = whole
        need = self._need(generation)
        if links:
            need = replace(need, accepts=need.accepts | {Input.IMAGES})
        self._suit(need, generation.session or "")
        generation = await self.path.images.attach(self.model, generation, links, self.request)
        if (capture := self.request.outcome.capture) is not None:
            capture.add_artifacts(generation.images, "image")
        warnings = self.request.outcome.warnings
        return await self.path.structures.prepare(
            generation, self.request.user, warnings, whole=whole
        )

    def _suit(self, need: Need, session: str = "") -> None:
        """The model of the canary for all that is known of the request now: a target that cannot
        serve it is not asked."""
        if self.rule is None:
            return
        request, shares = self.request, self.path.shares
        named = session or request.session
        chosen = shares.choose(self.rule, request, named, need, self.capability)
        if chosen is not None:
            self.model, request.outcome.model = chosen, chosen.name
            request.outcome.canary = self.rule.canary.name
            if self.cover is not None:
                self.cover.hold.row.model = chosen.name

    async def prepare_all(self, generations: list[Generation], *, whole: bool) -> list[Generation]:
        """Several prompts with the same sampling and schemas."""
        first = await self.prepare(generations[0], whole=whole)
        return [
            replace(
                one,
                structure=first.structure,
                tools=first.tools,
                schemas=first.schemas,
                validation=first.validation,
            )
            for one in generations
        ]

    def generate(self, generation: Generation) -> Events:
        """The events of one generation, whose answers match its schemas. Raises GatewayError."""
        self._check([generation])
        return self._generate(0, generation, self._call_id)

    def generate_all(self, generations: list[Generation]) -> AsyncGenerator[Numbered, None]:
        """(number of the prompt, its events) for every group of events. Raises GatewayError."""
        self._check(generations)
        if len(generations) == 1:
            return fan_out([partial(self._generate, 0, generations[0], self._call_id)])
        return self._fan_out(generations)

    async def load(self) -> None:
        """Returns when the model is loaded."""
        need = self._need()
        async with self.path.places.loaded(self.model, need, set(), self.request.left_s):
            pass

    async def count_tokens(self, generation: Generation) -> int:
        """Tokens of a prompt; they are not usage."""
        sizes.check_generations(self.model, [generation], self.path.policy.max_text_bytes)
        if self.cover is not None:
            await self.cover.tokens(0)

        async def count(place: Place) -> int:
            self._start()
            return await place.upstream.count(place.model, generation, place.call)

        need = self._need(generation, operation="count_tokens")
        return await self._call(count, need, _counted(generation))

    async def tokenize(self, generation: Generation, *, strings: bool) -> Tokenized:
        """The tokens of a prompt; they are not usage."""
        self._check([generation])

        async def tokenize(place: Place) -> Tokenized:
            upstream, call = place.upstream, place.call
            return await upstream.tokenize(place.model, generation, call, strings=strings)

        need = self._need(generation, operation="tokenize")
        return await self._call(tokenize, need, _counted(generation))

    async def detokenize(self, ids: list[int]) -> str:
        """The text of token ids."""
        self._check([Generation(TokenIds(ids), param="tokens")])

        async def detokenize(place: Place) -> str:
            return await place.upstream.detokenize(place.model, ids, place.call)

        need = self._need(operation="detokenize")
        return await self._call(detokenize, need, Expected(size_bytes=8 * len(ids)))

    @property
    def cached(self) -> CachedWork | None:
        """The response cache, if there is one."""
        return None if self.path.cache is None else CachedWork(self, self.path.cache)

    async def embed(self, embedding: Embedding) -> Vectors:
        """The vectors of all texts, in order."""
        accepts = frozenset() if embedding.ids is None else frozenset({Input.TOKEN_IDS})
        self._suit(self._need(None, accepts))
        sizes.check_embedding(self.model, embedding, self.path.policy.max_text_bytes)
        if (cached := self.cached) is None:
            return await self._embed(embedding)
        slot, vectors = await cached.vectors(embedding)
        if vectors is None:
            vectors = await self._embed(embedding)
            if slot is not None:
                await cached.keep_vectors(slot, vectors)
        return vectors

    async def _embed(self, embedding: Embedding) -> Vectors:
        if self.cover is not None and self.cover.is_needed:
            ids = sum(map(len, embedding.ids or ()))
            most = most_text_tokens(embedding.texts, self.model.context_length, ids)
            await self.cover.tokens(most, len(embedding.texts) or 1)

        async def embed(place: Place) -> Vectors:
            self._start()
            vectors = await self.path.together.embed(place, embedding, self.request.user)
            place.step.used(Usage(vectors.prompt_tokens))
            return vectors

        accepts = frozenset() if embedding.ids is None else frozenset({Input.TOKEN_IDS})
        expected = expected_texts(embedding.texts, sum(map(len, embedding.ids or ())))
        vectors = await self._call(embed, self._need(None, accepts, "embeddings"), expected)
        if not vectors.prompt_tokens:
            counted = sum(map(len, embedding.ids or ())) or sizes.estimate_texts(embedding.texts)
            vectors = replace(vectors, prompt_tokens=counted, estimated=embedding.ids is None)
        self._check_tokens(vectors.prompt_tokens)
        self._add(vectors.prompt_tokens, estimated=vectors.estimated)
        return vectors

    async def rerank(self, pairs: Pairs) -> Scores:
        """The scores of all pairs, in order."""
        sizes.check_pairs(self.model, pairs, self.path.policy.max_text_bytes)
        if (cached := self.cached) is None:
            return await self._rerank(pairs)
        slot, scores = await cached.scores(pairs)
        if scores is None:
            scores = await self._rerank(pairs)
            if slot is not None:
                await cached.keep_scores(slot, scores)
        return scores

    async def _rerank(self, pairs: Pairs) -> Scores:
        if self.cover is not None and self.cover.is_needed:
            texts = map(operator.add, pairs.queries, pairs.documents)
            most = most_text_tokens(texts, self.model.context_length)
            await self.cover.tokens(most, len(pairs.documents))

        async def rerank(place: Place) -> Scores:
            self._start()
            scores = await place.upstream.rerank(place.model, pairs, place.call)
            place.step.used(Usage(scores.prompt_tokens))
            return scores

        expected = expected_texts(map(operator.add, pairs.queries, pairs.documents))
        scores = await self._call(rerank, self._need(operation="rerank"), expected)
        if estimated := not scores.prompt_tokens:
            texts = map(operator.add, pairs.queries, pairs.documents)
            scores = replace(scores, prompt_tokens=sizes.estimate_texts(texts))
        self._check_tokens(scores.prompt_tokens)
        self._add(scores.prompt_tokens, estimated=estimated)
        return scores

    def _add(self, prompt_tokens: int, *, estimated: bool) -> None:
        self.count.add(Usage(prompt_tokens), estimated=estimated)
        self.request.outcome.is_estimated = estimated

    async def draw(self, image: ImageRequest) -> ImageResult:
        """PNG files. A preview is a part of its image, so it is not counted."""
        is_preview = image.stop_after is not None
        accepts = frozenset({Input.PREVIEWS}) if is_preview else frozenset[Input]()
        self._suit(self._need(None, accepts))
        sizes.check_image(self.model, image)
        number = next(self._attempts)
        if self.cover is not None and self.cover.is_needed and not is_preview:
            texts = [image.prompt, image.negative_prompt or ""]
            prompt = most_text_tokens(texts, None) * image.count
            await self.cover.tokens(prompt + patches(image))

        async def draw(place: Place) -> ImageResult:
            self._start()
            result = await place.upstream.draw(place.model, image, place.call)
            place.step.used(Usage(result.prompt_tokens))
            return result

        suffix = f"-{number}" if number else ""
        expected = replace(expected_texts([image.prompt]), output=patches(image))
        need = self._need(None, accepts, "generate_content")
        result = await self._call(draw, need, expected, suffix)
        if (capture := self.request.outcome.capture) is not None:
            capture.add_artifacts(result.files, "image/png")
        if not is_preview:
            # once they are there: a failed request costs no images
            self._start(images=len(result.files))
            self.count.add(Usage(result.prompt_tokens, completion_tokens=patches(image)))
        return result

    @property
    def _call_id(self) -> str:
        """What upstreams know the request by, and on whose behalf it comes."""
        return f"{self.request.user}/{self.request.id}"

    def _check_tokens(self, used: int) -> None:
        """Raises QuotaExceeded for more than a budget had left: the answer is not given away."""
        if self.cover is not None:
            self.cover.check(used)

    def _start(self, images: int = 0) -> None:
        """A model gets the request now: from here on it is charged for."""
        if self.cover is not None:
            self.cover.hold.started = True
            self.cover.hold.row.images += images

    async def _fan_out(self, generations: list[Generation]) -> AsyncGenerator[Numbered, None]:
        """All prompts that are not cached are reserved before the first one runs."""
        if self.cached is not None:
            found = [await self.cached.look_up(one) for one in generations]
            self._found = dict(enumerate(found))
        held = dict(enumerate(generations))
        fresh = [number for number in held if self._found.get(number, NOT_FOUND)[1] is None]
        if self.cover is not None and fresh:
            asked = [generations[number] for number in fresh]
            granted = await self.cover.generations(self.model, asked, self._count_prompt)
            self.was_lowered = granted != asked
            held |= zip(fresh, granted, strict=True)
            self._covered.update(fresh)
        streams = [
            partial(self._generate, number, one, f"{self._call_id}-{number}", held[number])
            for number, one in enumerate(generations)
        ]
        async with aclosing(fan_out(streams)) as events:
            async for numbered in events:
                yield numbered

    async def _count_prompt(self, generation: Generation) -> int:
        async def count(place: Place) -> int:
            return await place.upstream.count(place.model, generation, place.call)

        need = self._need(generation, operation="count_tokens")
        return await self._call(count, need, _counted(generation), "-count")

    async def _call(
        self,
        work: Callable[[Place], Awaitable[Answer]],
        need: Need,
        expected: Expected,
        suffix: str = "",
    ) -> Answer:
        """One call with one answer; where an upstream fails, another one gets it."""
        tried: set[str] = set()
        while True:
            scheduled = self.path.schedule(
                self._charge, self._call_id + suffix, self.model, expected, need, tried
            )
            try:
                async with scheduled as place:
                    answer = await work(place)
                    self._served_by(place)
                    return answer
            except MOVED:
                if not await self._can_move(need, tried):
                    raise

    async def _can_move(self, need: Need, tried: set[str]) -> bool:
        if self.request.left_s <= 0:
            return False
        places = self.path.places
        if not self._reloads and (name := await places.find_unloaded(self.model, tried)):
            # another gateway unloaded it since the last poll: it is loaded again, once
            self._reloads += 1
            tried.discard(name)
            return True
        return places.has_other(self.model.name, need, tried)

    def _served_by(self, place: Place) -> None:
        """The price is that of the upstream that answers."""
        if self.cover is not None:
            self.cover.hold.row.upstream = place.member.name

    def _need(
        self,
        generation: Generation | None = None,
        accepts: frozenset[Input] = frozenset(),
        operation: str = "load",
    ) -> Need:
        group = self.request.caller.group
        local = self.path.policy.is_local(group)
        if generation is None:
            return Need(accepts, group=group, local=local, operation=operation)
        if generation.images:
            accepts |= {Input.IMAGES}
        if generation.tools is not None:
            accepts |= {Input.TOOLS}
        answer = generation.sampling.max_tokens or 0
        tokens = int(sizes.bytes_of(generation) / _BYTES_PER_TOKEN) + answer
        session = generation.session or self.request.session
        # another user's session of the same name is another one
        named = f"{self.request.user}/{session}" if session else ""
        return Need(accepts, generation, tokens, group, local, operation, named)

    def _check(self, generations: list[Generation]) -> None:
        """Raises InvalidRequest before anything waits for a slot."""
        for generation in generations:
            check_generation(self.path.policy, self.model, generation)
        sizes.check_generations(self.model, generations, self.path.policy.max_text_bytes)

    def _generate(
        self, number: int, generation: Generation, call_id: str, held: Generation | None = None
    ) -> Events:
        """`held`: the generation as its budget lets it run, where that was asked already."""
        assert not generation.schemas, "its schemas were not checked"
        attempt = partial(self._infer, number)
        salted = salt(self.path.salts, self.request.caller, held or generation)
        fresh = partial(self.path.structures.checked, attempt, salted, call_id)
        if self.cached is None:
            return fresh()
        return self.cached.events(number, generation, self._found.pop(number, None), fresh)

    async def _infer(self, number: int, generation: Generation, call_id: str) -> Events:
        """The events of prompt `number` as the upstream sends them, counted.

        Raises GatewayError, also when the upstream ends before every completion has its finish
        reason.
        """
        attempt, cover = next(self._attempts), self.cover
        if cover is not None and number not in self._covered:
            (granted,) = await cover.generations(self.model, [generation], self._count_prompt)
            self.was_lowered |= granted != generation
            generation = granted
        self._covered.discard(number)  # another attempt is more than what was reserved
        chats = isinstance(generation.prompt, Conversation)
        operation = "chat" if chats else "text_completion"
        need, tried = self._need(generation, operation=operation), set[str]()
        expected = self._charge.generation(self.model, generation)
        kept: list[list[Event]] = []
        while True:
            scheduled = self.path.schedule(self._charge, call_id, self.model, expected, need, tried)
            place: Place | None = None
            try:
                async with (
                    scheduled as place,
                    aclosing(self._read(place, number, attempt, generation)) as groups,
                ):
                    async for events in groups:
                        if self._is_whole:
                            kept.append(events)
                        else:
                            yield events
                break
            except MOVED:
                # after the first byte the client has a part of this answer
                if place is not None and place.answered and not self._is_whole:
                    raise
                if not await self._can_move(need, tried):
                    raise
                kept.clear()
                if (capture := self.request.outcome.capture) is not None:
                    capture.forget(number, attempt)
        for events in kept:
            yield events

    async def _read(
        self, place: Place, number: int, attempt: int, generation: Generation
    ) -> Events:
        """What one upstream sends, counted. Raises as `_infer` does."""
        calls, unfinished, cover = CallBuffer(), generation.sampling.choices, self.cover
        prompt = 0
        self._start()
        self._served_by(place)
        watch = Stopwatch(self.path.speeds.of(self.model.name), place.speed)
        stream = self.path.runs.stream(self.model.name, self.request)
        async with aclosing(place.upstream.generate(place.model, generation, place.call)) as groups:
            async for group in groups:
                # an unexpected abort or an error is not the end of an
                # answer; the stream is read on to its own end, to be refused there
                events = [calls.complete(e) for e in map(_without_failure, group) if e is not None]
                for event in events:
                    if not event.prompt_tokens:
                        # it counts at the end, or not at all; who leaves before has used them
                        prompt = prompt or sizes.estimate(generation)
                        event.prompt_tokens, event.estimated = prompt, True
                    self.count.see(number, event, attempt)
                    self.request.outcome.is_estimated = event.estimated
                    unfinished -= event.finish_reason is not None
                if (capture := self.request.outcome.capture) is not None:
                    capture.generated(number, attempt, events)
                if cover is not None and cover.progress(sum(map(_tokens_of, events))):
                    cover.hold.row.usage = self.count.charged
                    cover.ledger.flush(cover.hold)
                if events:
                    place.answered = True
                    watch.saw(events)
                    stream.saw(events)
                    place.step.saw(events)
                    yield events
        watch.stop()
        if unfinished > 0:
            raise BackendFailed("the model stopped before the end of its answer", code="incomplete")


def _counted(generation: Generation) -> Expected:
    # to tokenize a prompt takes a small part of the time that it takes to compute it
    return Expected(size_bytes=sizes.bytes_of(generation))


def _tokens_of(event: Event) -> int:
    # an event without ids still stands for a token
    return len(event.token_ids) or 1


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
