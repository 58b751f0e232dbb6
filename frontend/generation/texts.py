"""Generates the texts of a run: reserves, reads the cache, retries at other upstreams, counts.

If an upstream fails before the first byte, another one gets the request; after the first byte, only
if the client waits for the whole answer. It does not settle.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from frontend.domain.events import Event, Events
from frontend.domain.generation import Conversation, Generation
from frontend.domain.request import Dialect
from frontend.errors import BackendFailed, BackendUnavailable
from frontend.generation.cached import NOT_FOUND, Found
from frontend.generation.calls import CallBuffer
from frontend.generation.counts import Counts
from frontend.generation.salts import salt
from frontend.generation.speeds import Stopwatch
from frontend.upstreams.fanout import Numbered, fan_out
from frontend.upstreams.placement import Place

if TYPE_CHECKING:
    from frontend.generation.run import Run

MOVED = (BackendUnavailable, BackendFailed)
"""Errors after which another upstream gets the request."""


@dataclass(slots=True)
class Texts:
    """The generations of one request."""

    run: "Run"
    _covered: set[int] = field(default_factory=set)
    """Prompts whose first attempt is reserved already."""
    _found: dict[int, Found] = field(default_factory=dict)
    """What the response cache has of several prompts."""

    async def generate_all(self, generations: list[Generation]) -> AsyncGenerator[Numbered, None]:
        """All prompts that are not cached are reserved before the first one runs."""
        run = self.run
        if run.cached is not None:
            found = [await run.cached.look_up(one) for one in generations]
            self._found = dict(enumerate(found))
        held = dict(enumerate(generations))
        fresh = [number for number in held if self._found.get(number, NOT_FOUND)[1] is None]
        if run.cover is not None and fresh:
            asked = [generations[number] for number in fresh]
            granted = await run.cover.generations(run.model, asked, run.count_prompt)
            run.was_lowered = granted != asked
            held |= zip(fresh, granted, strict=True)
            self._covered.update(fresh)
        streams = [
            partial(self.generate, number, one, f"{run.call_id}-{number}", held[number])
            for number, one in enumerate(generations)
        ]
        async with aclosing(fan_out(streams)) as events:
            async for numbered in events:
                yield numbered

    def generate(
        self, number: int, generation: Generation, call_id: str, held: Generation | None = None
    ) -> Events:
        """`held`: the generation as its budget lets it run, where that was asked already."""
        assert not generation.schemas, "its schemas were not checked"
        run = self.run
        attempt = partial(self._infer, number)
        salted = salt(run.path.salts, run.request.caller, held or generation)
        fresh = partial(run.path.structures.checked, attempt, salted, call_id)
        if run.cached is None:
            return fresh()
        return run.cached.events(number, generation, self._found.pop(number, None), fresh)

    async def _infer(self, number: int, generation: Generation, call_id: str) -> Events:
        """The events of prompt `number` as the upstream sends them, counted.

        Raises GatewayError, also when the upstream ends before every completion has its finish
        reason.
        """
        run = self.run
        attempt, cover = next(run.attempts), run.cover
        if cover is not None and number not in self._covered:
            (granted,) = await cover.generations(run.model, [generation], run.count_prompt)
            run.was_lowered |= granted != generation
            generation = granted
        self._covered.discard(number)  # another attempt is more than what was reserved
        chats = isinstance(generation.prompt, Conversation)
        operation = "chat" if chats else "text_completion"
        need, tried = run.need(generation, operation=operation), set[str]()
        expected = run.charge.generation(run.model, generation)
        kept: list[list[Event]] = []
        while True:
            scheduled = run.path.schedule(run.charge, call_id, run.model, expected, need, tried)
            place: Place | None = None
            try:
                async with (
                    scheduled as place,
                    aclosing(self._read(place, number, attempt, generation)) as groups,
                ):
                    async for events in groups:
                        if run.is_whole:
                            kept.append(events)
                        else:
                            yield events
                break
            except MOVED:
                # after the first byte the client has a part of this answer
                if place is not None and place.answered and not run.is_whole:
                    raise
                if not await run.can_move(need, tried):
                    raise
                kept.clear()
                if (capture := run.request.outcome.capture) is not None:
                    capture.forget(number, attempt)
        for events in kept:
            yield events

    async def _read(
        self, place: Place, number: int, attempt: int, generation: Generation
    ) -> Events:
        """What one upstream sends, counted. Raises as `_infer` does."""
        # the other dialects have arguments as objects
        as_said = place.upstream.reads_calls and self.run.request.dialect is Dialect.OPENAI
        calls, cover = CallBuffer(as_said=as_said), self.run.cover
        unfinished = generation.sampling.choices
        counts = Counts(place.model, generation)
        self.run.start()
        self.run.served_by(place)
        watch = Stopwatch(self.run.path.speeds.of(self.run.model.name), place.speed)
        stream = self.run.path.runs.stream(self.run.model.name, self.run.request)
        async with aclosing(place.upstream.generate(place.model, generation, place.call)) as groups:
            async for group in groups:
                # an unexpected abort or an error is not the end of an
                # answer; the stream is read on to its own end, to be refused there
                for event in group:
                    counts.check(event)
                seen = counts.ends() if counts.is_over else group
                events = [calls.complete(e) for e in map(_without_failure, seen) if e is not None]
                for event in events:
                    self.run.count.see(number, event, attempt)
                    self.run.request.outcome.is_estimated = event.estimated
                    unfinished -= event.finish_reason is not None
                if (capture := self.run.request.outcome.capture) is not None:
                    capture.generated(number, attempt, events)
                if cover is not None and cover.progress(sum(map(_tokens_of, events))):
                    cover.hold.row.usage = self.run.count.charged
                    cover.ledger.flush(cover.hold)
                if events:
                    place.answered = True
                    watch.saw(events)
                    stream.saw(events)
                    place.step.saw(events)
                    yield events
                if counts.is_over:
                    break
        watch.stop()
        self.run.has_odd_call |= calls.has_odd
        if unfinished > 0:
            raise BackendFailed("the model stopped before the end of its answer", code="incomplete")


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
