"""Uses the response cache for one request: looks up its answers, and stores complete ones.

An answer is stored after its last event was sent to the client. Answers that failed, were cut by a
budget or were cancelled are never stored.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frontend.cache.answers import AnswerCache, Slot, Work
from frontend.cache.entries import (
    Groups,
    join_groups,
    read_events,
    read_images,
    read_scores,
    read_vectors,
    write_group,
    write_images,
    write_scores,
    write_vectors,
)
from frontend.domain.caching import CACHE, NOT_ASKED, CacheUse
from frontend.domain.events import Event, Events
from frontend.domain.generation import Generation
from frontend.domain.images import ImageRequest, ImageResult
from frontend.domain.models import Model
from frontend.domain.usage import Usage, UsageCount
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.upstreams.member import Member

if TYPE_CHECKING:
    from frontend.generation.run import Run

Found = tuple[Slot | None, Groups | None]
NOT_FOUND: Found = (None, None)
_KINDS = {
    Generation: read_events,
    Embedding: read_vectors,
    Pairs: read_scores,
    ImageRequest: read_images,
}


@dataclass(slots=True)
class CachedWork:
    """The cache as one run uses it."""

    run: "Run"
    cache: AnswerCache

    @property
    def use(self) -> CacheUse:
        """What the request asks of the cache, and what became of it."""
        outcome = self.run.request.outcome
        if outcome.cache is None:
            outcome.cache = CacheUse()
        return outcome.cache

    def slot(self, work: Work) -> Slot | None:
        """Where the answer belongs; None where the cache is not used."""
        run = self.run
        held = run.path.fleet.holders(run.model.name)
        revision = "\0".join(sorted({self._revision(member, model) for member, model in held}))
        names = run.model.name, revision
        slot = self.cache.slot(run.request.caller, self.use.ask, names, work)
        if slot is None and self._counts:
            self._bypass()
        return slot

    def _bypass(self) -> None:
        self.use.bypassed = True
        self.cache.figures.bypasses += 1
        self.run.path.runs.cached(self.run.model.name, "bypass")

    def _revision(self, member: Member, model: Model) -> str:
        if not self.cache.is_local:
            return model.revision
        # a chat template may have changed: configs do not contain it
        return f"{model.revision} {member.name} {member.registry.residency.loads(model.stored)}"

    @property
    def _counts(self) -> bool:
        """Whether it says that the cache was not used: to who asked, and where it is on."""
        policy = self.cache.policy_of(self.run.request.caller)
        return policy.mode == "deterministic" or self.use.ask != NOT_ASKED

    async def find(self, slot: Slot, work: Work) -> Groups | Vectors | Scores | ImageResult | None:
        """The answer that was kept, if one may be read."""
        if not slot.reads:
            self._bypass()
            return None
        content = await self.cache.get(slot)
        found = None if content is None else _KINDS[type(work)](content)
        if content is not None and found is None:
            self.cache.spoil()
        run, figures = self.run, self.cache.figures
        if found is None:
            self.use.misses += 1
            figures.misses += 1
        else:
            self.use.hits += 1
            figures.hits += 1
        run.path.runs.cached(run.model.name, "miss" if found is None else "hit")
        return found

    async def charge(self, usage: Usage, price: float) -> None:
        """Counts an answer that was found, at its price. Raises as a reservation does."""
        run = self.run
        if run.cover is not None:
            part = usage.part(price)
            if price > 0:
                await run.cover.tokens(part.prompt_tokens + part.completion_tokens)
            # its row in usage says that it came from here
            run.cover.hold.started = True
            if self.use.result == "hit":
                run.cover.hold.row.upstream = CACHE
                run.cover.hold.credits = math.ceil(run.cover.hold.credits * price)
        run.count.cached(usage, price)

    async def keep(self, slot: Slot, content: bytes) -> None:
        """Keeps an answer, unless a budget has cut it, another model gave it, or another dialect
        cannot say it."""
        run = self.run
        if not (run.was_lowered or run.fell_back or run.has_odd_call):
            await self.cache.put(slot, content)

    async def events(
        self, number: int, work: Generation, found: Found | None, generate: Callable[[], Events]
    ) -> Events:
        """The events of one generation: those that were kept, in their groups, or new ones."""
        slot, groups = found or await self.look_up(work)
        if slot is None:
            events = generate()
        elif groups is not None:
            events = self._replay(number, slot, groups)
        else:
            events = self._record(slot, generate())
        async with aclosing(events):
            async for group in events:
                yield group

    async def look_up(self, work: Generation) -> Found:
        """Where the answer belongs, and its events if they were kept."""
        slot = self.slot(work)
        kept = None if slot is None else await self.find(slot, work)
        return slot, kept if isinstance(kept, list) else None

    async def _replay(self, number: int, slot: Slot, groups: Groups) -> Events:
        await self.charge(_usage_of(groups), slot.price)
        capture = self.run.request.outcome.capture
        for group in groups:
            if capture is not None:
                capture.generated(number, 0, group)
            yield group

    async def _record(self, slot: Slot, events: Events) -> AsyncGenerator[list[Event], None]:
        groups: list[bytes] = []
        size, warnings = 0, len(self.run.request.outcome.warnings)
        async with aclosing(events):
            async for group in events:
                if size <= self.cache.max_entry_bytes:
                    # before it is sent: the receiver may change it
                    groups.append(write_group(group))
                    size += len(groups[-1])
                yield group
        if size > self.cache.max_entry_bytes:
            self.cache.figures.too_large += 1
        # a warning that the answer gave rise to would be missing next time
        elif groups and len(self.run.request.outcome.warnings) == warnings:
            await self.keep(slot, join_groups(groups))

    async def vectors(self, work: Embedding) -> tuple[Slot | None, Vectors | None]:
        """Where the vectors belong, and those that were kept."""
        slot = self.slot(work)
        found = None if slot is None else await self.find(slot, work)
        if slot is None or not isinstance(found, Vectors):
            return slot, None
        await self.charge(Usage(found.prompt_tokens), slot.price)
        return slot, found

    async def scores(self, work: Pairs) -> tuple[Slot | None, Scores | None]:
        """Where the scores belong, and those that were kept."""
        slot = self.slot(work)
        found = None if slot is None else await self.find(slot, work)
        if slot is None or not isinstance(found, Scores):
            return slot, None
        await self.charge(Usage(found.prompt_tokens), slot.price)
        return slot, found

    async def images(
        self, work: ImageRequest, tokens: int
    ) -> tuple[Slot | None, ImageResult | None]:
        """Where the images belong, and those that were kept. `tokens`: those that the images count
        as; 0 for a preview, which is a part of its image."""
        slot = self.slot(work)
        found = None if slot is None else await self.find(slot, work)
        if slot is None or not isinstance(found, ImageResult):
            return slot, None
        if tokens:
            await self.charge(Usage(found.prompt_tokens, completion_tokens=tokens), slot.price)
        return slot, found

    async def keep_images(self, slot: Slot, images: ImageResult) -> None:
        """Keeps images."""
        await self.keep(slot, write_images(images))

    async def keep_vectors(self, slot: Slot, vectors: Vectors) -> None:
        """Keeps vectors."""
        await self.keep(slot, write_vectors(vectors))

    async def keep_scores(self, slot: Slot, scores: Scores) -> None:
        """Keeps scores."""
        await self.keep(slot, write_scores(scores))


def _usage_of(groups: Groups) -> Usage:
    count = UsageCount()
    for event in {event.index: event for group in groups for event in group}.values():
        count.see(0, event)
    return count.computed
