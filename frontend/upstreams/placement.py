"""Where one request runs: hard constraints, then the score, then a place that is kept for it.

Where every upstream that could serve it is full, the request waits for the first place that becomes
free, in order. Figures, breakers and limits never stop a request that some upstream could serve:
with all breakers open the breakers do not count.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass, field

from frontend.domain.models import Model
from frontend.domain.speed import Speed
from frontend.domain.trace import Step
from frontend.errors import BackendTimeout, BackendUnavailable, GatewayError
from frontend.upstreams.balance import Candidate, Score, pick, score
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.member import Member
from frontend.upstreams.need import Need, forbidden, may_use, with_context
from frontend.upstreams.prefixes import blocks_of
from frontend.upstreams.protocol import Call, Upstream

_KEPT = 1000
"""Decisions; as many as the scheduler keeps of its own."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a request went where it went: every candidate with the terms of its score."""

    call_id: str
    model: str
    chosen: str
    scores: dict[str, Score]
    stale: bool

    @property
    def terms(self) -> dict[str, dict[str, float]]:
        """Every term of every candidate, and their sums, rounded."""
        return {
            name: {term: round(value, 2) for term, value in asdict(one).items()}
            | {"total": round(one.total, 2)}
            for name, one in self.scores.items()
        }


@dataclass(slots=True)
class Place:
    """A place at an upstream that one call holds. `model` is the model as that upstream has it."""

    member: Member
    model: Model
    call: Call
    step: Step
    """The call in its request's trace."""
    answered: bool = False
    """Whether something came of the answer."""

    @property
    def upstream(self) -> Upstream:
        """Where the call goes."""
        return self.member.upstream

    @property
    def speed(self) -> Speed:
        """How fast the model answers there."""
        return self.member.speed(self.model.name)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    names: frozenset[str]
    turn: asyncio.Future[Member | None]
    """None: upstreams changed, so the request chooses again."""


_NOWHERE: AbstractAsyncContextManager[None] = nullcontext()


@dataclass(slots=True)
class _Held:
    """A place, for a block. A generator would cost each request twice as much."""

    places: "Places"
    asked: tuple[Model, Need, Set[str], str, float]
    member: Member = field(init=False)

    async def __aenter__(self) -> Member:
        self.member = await self.places._take(*self.asked)
        return self.member

    async def __aexit__(self, *_: object) -> None:
        self.places._give_back(self.member)


@dataclass(slots=True)
class Places:
    """Gives places at the upstreams of a fleet."""

    fleet: Fleet
    random: Callable[[], float] = random.random
    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=_KEPT))
    freed: list[Callable[[], None]] = field(default_factory=list)
    """Called when a place becomes free and no request takes it."""
    _waiting: deque[_Waiter] = field(default_factory=deque)

    def room(self, model: str) -> float:
        """Requests to the model that would not wait for a place; infinite where nobody counts."""
        held = [one for one, _ in self.fleet.holders(model) if one.takes_requests]
        return sum(one.room for one in held) if held else math.inf

    def serves(self, model: str, need: Need, capability: str | None = None) -> bool:
        """Whether an upstream can serve the request now, by all hard constraints."""
        return any(
            one.takes_requests
            and may_use(one, need)
            and not one.is_open(model)
            and (capability is None or capability in own.capabilities)
            and need.accepts <= own.accepts
            and (own.context_length is None or own.context_length >= need.tokens)
            for one, own in self.fleet.holders(model)
        )

    def is_broken(self, model: str) -> bool:
        """Whether the model's breaker is open wherever it is served."""
        held = self.fleet.holders(model)
        return bool(held) and all(one.is_open(model) for one, _ in held)

    def has_other(self, model: str, need: Need, tried: Set[str]) -> bool:
        """Whether an upstream that was not tried could serve the request."""
        return bool(self._fitting(model, need, tried))

    async def find_unloaded(self, model: Model, tried: Set[str]) -> str | None:
        """A tried upstream where requests load the model, and that has unloaded it meanwhile."""
        for member, own in self.fleet.holders(model.name):
            registry = member.registry
            if member.name in tried and registry.residency.is_on_demand(own):
                await registry.refresh()
                if registry.is_reachable and not registry.is_loaded(model.name):
                    return member.name
        return None

    def hold(
        self, model: Model, need: Need, tried: Set[str], call_id: str, timeout_s: float
    ) -> "_Held":
        """A place at the best upstream that was not `tried`. Raises GatewayError if none can take
        the request in time."""
        return _Held(self, (model, need, tried, call_id, timeout_s))

    def loaded(
        self, model: Model, need: Need, tried: Set[str], timeout_s: float
    ) -> AbstractAsyncContextManager[Member | None]:
        """While the block runs, an upstream that loads models on demand has this one loaded; yields
        that upstream, or None if no upstream does so. Does not hold a place meanwhile. Raises
        GatewayError if the load fails.
        """
        if not self.fleet.is_on_demand(model):
            return _NOWHERE
        return self._loaded(model, need, tried, timeout_s)

    @asynccontextmanager
    async def _loaded(
        self, model: Model, need: Need, tried: Set[str], timeout_s: float
    ) -> AsyncIterator[Member | None]:
        fitting = self._fitting(model.name, need, tried)
        fitting.sort(key=lambda one: _place_to_load(one, model))
        holder = fitting[0] if fitting else None
        if holder is None:
            yield None
            return
        async with holder.registry.residency.using(model, timeout_s):
            yield holder

    async def _take(
        self, model: Model, need: Need, tried: Set[str], call_id: str, timeout_s: float
    ) -> Member:
        ends_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            fitting = self._fitting(model.name, need, tried)
            if not fitting:
                raise self._refusal(model.name, need)
            free = [one for one in fitting if one.room]
            if free:
                member = self._choose(free, model.name, need, call_id)
                member.running += 1
                return member
            if (granted := await self._wait(fitting, ends_s)) is not None:
                return granted

    def changed(self) -> None:
        """Upstreams came, went or changed: waiting requests choose again, in order."""
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.turn.done():
                waiter.turn.set_result(None)
        for call in self.freed:
            call()

    def _fitting(self, model: str, need: Need, tried: Set[str]) -> list[Member]:
        """The upstreams that could serve the request, by the hard constraints."""
        held = [(one, own) for one, own in self.fleet.holders(model) if one.name not in tried]
        held = [(one, own) for one, own in held if one.takes_requests and may_use(one, need)]
        if len(held) > 1:
            # where none accepts it, the upstream itself refuses it with the reason
            held = [(one, own) for one, own in held if need.accepts <= own.accepts] or held
            held = with_context(held, need.tokens) or held
            # it may be busy or stand still; nobody can say which
            held = [(one, own) for one, own in held if not one.registry.is_silent] or held
            # when all of them fail, to try is better than to refuse (Envoy's panic threshold)
            held = [(one, own) for one, own in held if not one.is_open(model)] or held
        return [one for one, _ in held]

    def _refusal(self, model: str, need: Need) -> GatewayError:
        held = self.fleet.holders(model)
        # one that is away and had the model can be back soon
        away = any(
            not one.registry.is_reachable
            and model in one.registry.served.known
            and may_use(one, need)
            for one in self.fleet.members
        )
        if held and not away and not any(may_use(one, need) for one, _ in held):
            return forbidden(model, [one for one, _ in held], need)
        return BackendUnavailable(f"the model '{model}' is not available now; try again later")

    def _choose(self, free: list[Member], model: str, need: Need, call_id: str) -> Member:
        if len(free) == 1 and len(self.fleet.members) == 1:
            return free[0]
        blocks = blocks_of(need.generation) if need.generation is not None else ()
        candidates = _candidates(free, model, blocks, need.session)
        scores = [score(one) for one in candidates]
        member = free[pick(candidates, scores, self.random)]
        member.prefixes.add(blocks)
        if need.session:
            member.prefixes.add_session(need.session)
        names = [one.name for one in free]
        stale = any(one.stale for one in candidates)
        terms = dict(zip(names, scores, strict=True))
        self.decisions.append(Decision(call_id, model, member.name, terms, stale))
        return member

    async def _wait(self, fitting: list[Member], ends_s: float) -> Member | None:
        turn: asyncio.Future[Member | None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(frozenset(one.name for one in fitting), turn)
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(ends_s):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                if (granted := turn.result()) is not None:
                    self._give_back(granted)  # granted in the moment of giving up
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            if isinstance(error, TimeoutError):
                text = "the request waited longer than the server allows"
                raise BackendTimeout(text) from None
            raise

    def _give_back(self, member: Member) -> None:
        """The place goes to the first who waits for one there."""
        if member.takes_requests:
            for waiter in self._waiting:
                if member.name in waiter.names and not waiter.turn.done():
                    self._waiting.remove(waiter)
                    waiter.turn.set_result(member)
                    return
        member.running -= 1
        for call in self.freed:
            call()


def _place_to_load(member: Member, model: Model) -> tuple[bool, bool]:
    """Sorts first where it is loaded already, then where no other model must go for it."""
    registry = member.registry
    return not registry.is_loaded(model.name), not registry.residency.has_room(model)


def _candidates(
    free: list[Member], model: str, blocks: tuple[int, ...], session: str
) -> list[Candidate]:
    fastest = max((one.speed(model).tokens_per_s or 0.0) for one in free)
    made = []
    for one in free:
        first_s, speed = one.speed(model).first_token_s, one.speed(model).tokens_per_s
        made.append(
            Candidate(
                name=one.name,
                loaded=one.registry.is_loaded(model),
                affinity=max(one.prefixes.share(blocks), one.prefixes.session_share(session)),
                utilization=one.utilization,
                queue=one.queue,
                speed=speed / fastest if speed is not None and fastest else None,
                latency_ms=1000 * (first_s or 0.0),
                priority=one.placing.priority,
                running=one.running,
                stale=one.is_stale,
            )
        )
    return made
