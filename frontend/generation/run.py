"""One authorized request to one model: what it infers is reserved, scheduled and counted.

`Path.open` makes a run and settles it, whichever way the request ends; the run itself settles
nothing. It does not know how requests share the upstreams' slots.
"""

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from frontend.domain.events import Events
from frontend.domain.generation import Generation, ImageLink, TokenIds, Tokenized
from frontend.domain.images import ImageRequest, ImageResult
from frontend.domain.models import Input, Model
from frontend.domain.request import Request
from frontend.domain.usage import Usage, UsageCount
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.generation import images, sizes, vectors
from frontend.generation.cached import CachedWork
from frontend.generation.charge import Charge, Expected
from frontend.generation.cover import Cover
from frontend.generation.policy import check_generation, require_capability
from frontend.generation.shares import Rule
from frontend.generation.texts import MOVED, Texts
from frontend.upstreams.fanout import Numbered, fan_out
from frontend.upstreams.need import Need
from frontend.upstreams.placement import Place

if TYPE_CHECKING:
    from frontend.generation.path import Path

Answer = TypeVar("Answer")
_BYTES_PER_TOKEN = 3.5
"""About; decides only between upstreams that have different context lengths."""


@dataclass(slots=True)
class Run:
    """One authorized request to one model. Everything it infers is counted in its usage."""

    path: "Path"
    request: Request
    model: Model
    count: UsageCount
    charge: Charge
    cover: Cover | None = None
    rule: Rule | None = None
    """The canary that the asked name leads to."""
    capability: str | None = None
    attempts: Iterator[int] = field(default_factory=itertools.count)
    _reloads: int = 0
    is_whole: bool = False
    """Its client gets nothing before the whole answer, so that another upstream may give it."""
    was_lowered: bool = False
    """Whether a budget has less left than an answer may take."""
    fell_back: bool = False
    """Whether another model got the request after the canary's target had failed."""
    has_odd_call: bool = False
    """Whether a tool call of the answer cannot be said in every dialect."""
    _has_parts: bool = False

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
        self.is_whole = whole
        need = self.need(generation)
        if links:
            need = replace(need, accepts=need.accepts | {Input.IMAGES})
        self.suit(need, generation.session or "")
        generation = await self.path.images.attach(self.model, generation, links, self.request)
        if (capture := self.request.outcome.capture) is not None:
            capture.add_artifacts(generation.images, "image")
        warnings = self.request.outcome.warnings
        return await self.path.structures.prepare(
            generation, self.request.user, warnings, whole=whole
        )

    def suit(self, need: Need, session: str = "") -> None:
        """The model of the canary for all that is known of the request now: a target that cannot
        serve it is not asked."""
        if self.rule is None:
            return
        request, shares = self.request, self.path.shares
        named = session or request.session
        chosen = shares.choose(self.rule, request, named, need, self.capability)
        if chosen is not None:
            request.outcome.canary = self.rule.canary.name
            self._use(chosen)

    def _use(self, model: Model) -> None:
        self.model, self.request.outcome.model = model, model.name
        if self.cover is not None:
            self.cover.hold.row.model = model.name

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
        """The events of one generation, whose answers match its schemas. Raises GatewayError if it
        is refused or fails."""
        self._check([generation])
        return Texts(self).generate(0, generation, self.call_id)

    def generate_all(self, generations: list[Generation]) -> AsyncGenerator[Numbered, None]:
        """(number of the prompt, its events) for every group of events. Raises GatewayError if a
        generation is refused or fails."""
        self._check(generations)
        if len(generations) == 1:
            return fan_out([partial(Texts(self).generate, 0, generations[0], self.call_id)])
        self._has_parts = True
        return Texts(self).generate_all(generations)

    async def load(self) -> None:
        """Returns when the model is loaded."""
        need = self.need()
        async with self.path.places.loaded(self.model, need, set(), self.request.left_s):
            pass

    async def count_tokens(self, generation: Generation) -> int:
        """Tokens of a prompt; they are not usage."""
        sizes.check_generations(self.model, [generation], self.path.policy.max_text_bytes)
        if self.cover is not None:
            await self.cover.tokens(0)

        async def count(place: Place) -> int:
            self.start()
            return await place.upstream.count(place.model, generation, place.call)

        need = self.need(generation, operation="count_tokens")
        return await self.call(count, need, _counted(generation))

    async def tokenize(self, generation: Generation, *, strings: bool) -> Tokenized:
        """The tokens of a prompt; they are not usage."""
        self._check([generation])

        async def tokenize(place: Place) -> Tokenized:
            upstream, call = place.upstream, place.call
            return await upstream.tokenize(place.model, generation, call, strings=strings)

        need = self.need(generation, operation="tokenize")
        return await self.call(tokenize, need, _counted(generation))

    async def detokenize(self, ids: list[int]) -> str:
        """The text of token ids."""
        self._check([Generation(TokenIds(ids), param="tokens")])

        async def detokenize(place: Place) -> str:
            return await place.upstream.detokenize(place.model, ids, place.call)

        need = self.need(operation="detokenize")
        return await self.call(detokenize, need, Expected(size_bytes=8 * len(ids)))

    @property
    def cached(self) -> CachedWork | None:
        """The response cache, if there is one."""
        return None if self.path.cache is None else CachedWork(self, self.path.cache)

    async def embed(self, embedding: Embedding) -> Vectors:
        """The vectors of all texts, in order."""
        return await vectors.embed(self, embedding)

    async def rerank(self, pairs: Pairs) -> Scores:
        """The scores of all pairs, in order."""
        return await vectors.rerank(self, pairs)

    async def draw(self, image: ImageRequest) -> ImageResult:
        """PNG files. A preview is a part of its image, so it is not counted."""
        return await images.draw(self, image)

    def add(self, prompt_tokens: int, *, estimated: bool) -> None:
        """Counts the tokens of a prompt without an answer in tokens."""
        self.count.add(Usage(prompt_tokens), estimated=estimated)
        self.request.outcome.is_estimated = estimated

    @property
    def call_id(self) -> str:
        """What upstreams know the request by, and on whose behalf it comes."""
        return f"{self.request.user}/{self.request.id}"

    def check_tokens(self, used: int) -> None:
        """Raises QuotaExceeded for more than a budget had left: the answer is not given away."""
        if self.cover is not None:
            self.cover.check(used)

    def start(self, images: int = 0) -> None:
        """A model gets the request now: from here on it is charged for."""
        if self.cover is not None:
            self.cover.hold.started = True
            self.cover.hold.row.images += images

    async def count_prompt(self, generation: Generation) -> int:
        """Tokens of a prompt, for its reservation."""

        async def count(place: Place) -> int:
            return await place.upstream.count(place.model, generation, place.call)

        need = self.need(generation, operation="count_tokens")
        return await self.call(count, need, _counted(generation), "-count")

    async def call(
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
                self.charge, self.call_id + suffix, self.model, expected, need, tried
            )
            try:
                async with scheduled as place:
                    answer = await work(place)
                    self.served_by(place)
                    return answer
            except MOVED:
                if not await self.can_move(need, tried):
                    raise

    async def can_move(self, need: Need, tried: set[str]) -> bool:
        """Whether another upstream may get a request after one has failed, or a canary's stable
        model after the upstreams of another target."""
        if self.request.left_s <= 0:
            return False
        places = self.path.places
        if not self._reloads and (name := await places.find_unloaded(self.model, tried)):
            # another gateway unloaded it since the last poll: it is loaded again, once
            self._reloads += 1
            tried.discard(name)
            return True
        return places.has_other(self.model.name, need, tried) or self._fall_back(need, tried)

    def _fall_back(self, need: Need, tried: set[str]) -> bool:
        """Whether the stable model of a canary gets the request, whose target has failed it."""
        # of several prompts, some may have the other model's answers already
        if self.rule is None or self._has_parts:
            return False
        places, name = self.path.places, self.rule.targets[0].model
        stable = self.path.fleet.own(name)
        if stable is None or name == self.model.name:
            return False
        if not places.serves(name, need, self.capability):
            return False
        self._use(stable)
        self.fell_back = True
        tried.clear()
        return True

    def served_by(self, place: Place) -> None:
        """The price is that of the upstream that answers."""
        if self.cover is not None:
            self.cover.hold.row.upstream = place.member.name

    def need(
        self,
        generation: Generation | None = None,
        accepts: frozenset[Input] = frozenset(),
        operation: str = "load",
    ) -> Need:
        """What the request needs of its upstream."""
        group = self.request.caller.group
        local, rules = self.path.policy.is_local(group), self.request.caller.rules
        if generation is None:
            return Need(accepts, group=group, local=local, operation=operation, rules=rules)
        if generation.images:
            accepts |= {Input.IMAGES}
        if generation.tools is not None:
            accepts |= {Input.TOOLS}
        answer = generation.sampling.max_tokens or 0
        tokens = int(sizes.bytes_of(generation) / _BYTES_PER_TOKEN) + answer
        session = generation.session or self.request.session
        # another user's session of the same name is another one
        named = f"{self.request.user}/{session}" if session else ""
        return Need(accepts, generation, tokens, group, local, operation, named, rules)

    def _check(self, generations: list[Generation]) -> None:
        """Raises InvalidRequest before anything waits for a slot."""
        for generation in generations:
            check_generation(self.path.policy, self.model, generation)
        sizes.check_generations(self.model, generations, self.path.policy.max_text_bytes)


def _counted(generation: Generation) -> Expected:
    # to tokenize a prompt takes a small part of the time that it takes to compute it
    return Expected(size_bytes=sizes.bytes_of(generation))
