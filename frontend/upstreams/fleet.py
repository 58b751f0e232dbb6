"""All upstreams of the gateway: the models that they serve, and the upstreams of each model.

A name refers to a model of that name at any upstream, else to an alias, else to a pattern. Models
of one name at several upstreams are one model for callers, with the capabilities of all.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from frontend.domain.models import Model
from frontend.errors import BackendUnavailable, GatewayError, ModelNotFound, NotFound
from frontend.upstreams.member import Member
from frontend.upstreams.names import Match, spellings
from frontend.upstreams.probes import probing

_AWAY = "the model server is not available now; try again later"


@dataclass(slots=True)
class Fleet:
    """The upstreams in the order in which they were named."""

    members: list[Member] = field(default_factory=list)
    leaving: list[Member] = field(default_factory=list)
    """Those that were removed, and still have requests."""
    stable: Mapping[str, str] = field(default_factory=dict)
    """Names that several models share, and the model that answers for them where one must."""
    _polls: dict[int, contextlib.AsyncExitStack] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether an upstream answers and serves a model, or loads it."""
        return any(one.enabled and one.registry.is_ready for one in self.members)

    @property
    def models(self) -> list[Model]:
        """The ready models by name, each once."""
        return _merged(model for one in self.members for model in one.served())

    @property
    def listed(self) -> list[Model]:
        """The ready models, and the names that several of them share, by name."""
        known = {model.name: model for model in self.models}
        shared = {
            name: replace(known[target], name=name, aliases=(), patterns=())
            for name, target in self.stable.items()
            if name not in known and target in known
        }
        return sorted([*known.values(), *shared.values()], key=lambda model: model.name)

    @property
    def loaded(self) -> list[Model]:
        """The models that are loaded somewhere now, by name."""
        return _merged(model for one in self._enabled for model in one.registry.loaded)

    @property
    def names(self) -> dict[str, Model]:
        """The ready models by every name, in order."""
        merged = {model.name: model for model in self.models}
        known: dict[str, Model] = {}
        for one in reversed(self._enabled):
            known |= {name: merged[model.name] for name, model in one.registry.names.items()}
        shared = {name: merged[one] for name, one in self.stable.items() if one in merged}
        return dict(sorted((known | merged | shared).items()))

    def own(self, name: str) -> Model | None:
        """The ready model of that name, as its upstreams have it together."""
        held = [model for _, model in self.holders(name)]
        return _merge(held) if held else None

    @property
    def absent(self) -> list[str]:
        """Names of the models that were ready before and are not now."""
        absent = {name for one in self._enabled for name in one.registry.absent}
        return sorted(absent - {model.name for model in self.models})

    def holders(self, name: str) -> list[tuple[Member, Model]]:
        """The upstreams that have a model of this name ready, with it as each of them has it."""
        pairs = ((one, one.registry.own(name)) for one in self._enabled)
        return [(one, model) for one, model in pairs if model is not None]

    def member(self, name: str) -> Member | None:
        """The upstream of that name."""
        return next((one for one in self.members if one.name == name), None)

    async def find(self, name: str) -> Model:
        """The ready model that answers to `name`; polls again on a miss.

        Raises NotFound, or BackendUnavailable when it was there before or no upstream answers.
        """
        shared = next((self.stable[one] for one in spellings(name) if one in self.stable), name)
        return await self.find_own(shared)

    async def find_own(self, name: str) -> Model:
        """As `find` does, and passes over canaries. Raises as it does."""
        spelled = spellings(name)
        found = self._match(spelled)
        if found is None:
            await asyncio.gather(*(one.registry.look_again() for one in self._enabled))
            found = self._match(spelled)
        if found is not None:
            return self._whole(found)
        # one that never answered may serve it
        away = [one for one in self._enabled if not one.registry.is_reachable]
        if len(away) == len(self._enabled) or any(not one.registry.was_read for one in away):
            raise BackendUnavailable(_AWAY)
        for one in self._enabled:
            if (known := one.registry.served.find_known(spelled)) is not None:
                raise BackendUnavailable(f"the model '{known}' is not loaded now; try again later")
        raise ModelNotFound(name)

    def _match(self, spelled: Sequence[str]) -> Match | None:
        registries = [one.registry for one in self._enabled]
        found = [match for one in registries if (match := one.match(spelled)) is not None]
        best = min(found, key=lambda match: match.rank, default=None)
        # a model of that name is not loaded now: patterns do not replace it
        is_known = (one.served.find_known(spelled, by_pattern=False) for one in registries)
        return None if best is not None and best.is_pattern and any(is_known) else best

    def _whole(self, match: Match) -> Model:
        held = [model for _, model in self.holders(match.model.name)]
        return _merge([match.model, *held]) if len(held) > 1 else match.model

    @property
    def _enabled(self) -> list[Member]:
        return [one for one in self.members if one.enabled]

    async def check(self) -> None:
        """Polls those that were away. Raises BackendUnavailable when all of them still are."""
        if not any([await one.registry.check() for one in self._enabled]):
            raise BackendUnavailable(_AWAY)

    async def find_stored(self, names: list[str]) -> tuple[Member, str]:
        """The first upstream that can load one of `names`, and its name there. Raises NotFound if
        there is none, or the error of an upstream that could not be asked."""
        failure: GatewayError | None = None
        for one in self._enabled:
            try:
                if (name := await one.registry.find_stored(names)) is not None:
                    return one, name
            except GatewayError as error:
                failure = error
        if failure is not None:
            raise failure
        raise NotFound(
            f"the repository has no model '{names[0][:100]}'; the operator builds it"
            " (toolkit build-repo)",
            param="model",
            code="model_not_found",
        )

    async def unload(self, name: str) -> None:
        """Unloads a model at every upstream that has it. Raises GatewayError if one of them does
        not unload it."""
        for one, model in self.holders(name):
            await one.registry.unload(model.name)

    def is_on_demand(self, model: Model) -> bool:
        """Whether a request loads it somewhere."""
        return any(
            one.registry.residency.is_on_demand(own) for one, own in self.holders(model.name)
        )

    def keep(self, model: Model, seconds: float) -> bool:
        """Lets it stay that long after each request; False for a model that is always loaded."""
        kept = [one.registry.residency.keep(own, seconds) for one, own in self.holders(model.name)]
        return any(kept)

    def expires_s(self, model: Model) -> float | None:
        """When its last copy is unloaded, in seconds since 1970; None if it stays."""
        ends = [one.registry.residency.expires_s(own) for one, own in self.holders(model.name)]
        return None if None in ends else max((end for end in ends if end is not None), default=None)

    def running(self, model: Model) -> int:
        """Requests that this gateway has running or waiting for the model."""
        held = self.holders(model.name)
        return sum(one.registry.residency.stay(own).running for one, own in held)

    def abandon(self) -> None:
        """Ends every call that is running; each raises Overloaded."""
        for one in (*self.members, *self.leaving):
            one.upstream.abandon()

    @contextlib.asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Polls each upstream once before the block begins, then regularly until it ends."""
        await asyncio.gather(*map(self.begin, self.members))
        try:
            yield
        finally:
            await asyncio.gather(*map(self._end, [*self._polls]))

    async def begin(self, member: Member) -> None:
        """Polls it from now on, once before this returns."""
        stack = contextlib.AsyncExitStack()
        await stack.enter_async_context(member.registry.polling())
        probes = asyncio.create_task(probing(member))
        stack.callback(probes.cancel)
        self._polls[id(member)] = stack

    def join(self, member: Member, instead_of: Member | None = None) -> None:
        """From now on requests may go there, and no more of them to the other one."""
        if instead_of is not None:
            self.remove(instead_of)
        self.members.append(member)

    def remove(self, member: Member) -> None:
        """No request goes there any more; those that run there continue."""
        member.draining = True
        self.members.remove(member)
        self.leaving.append(member)

    async def release(self) -> None:
        """Closes the connections to those that were removed and whose requests have ended."""
        for one in [each for each in self.leaving if each.is_idle]:
            self.leaving.remove(one)
            await self.discard(one)

    async def discard(self, member: Member) -> None:
        """Ends polling an upstream outside the fleet, and closes its connections."""
        await self._end(id(member))
        await member.upstream.close()

    async def _end(self, number: int) -> None:
        if (stack := self._polls.pop(number, None)) is not None:
            await stack.aclose()

    async def close(self) -> None:
        """Closes every connection."""
        everyone = (*self.members, *self.leaving)
        await asyncio.gather(*(one.upstream.close() for one in everyone))


def _merged(models: Iterable[Model]) -> list[Model]:
    by_name: dict[str, list[Model]] = {}
    for model in models:
        by_name.setdefault(model.name, []).append(model)
    return [_merge(same) for _, same in sorted(by_name.items())]


def _merge(models: Sequence[Model]) -> Model:
    """One model that can do what any of them can; those of another kind than the first's do not
    count."""
    first, *others = models
    same = [one for one in others if one.kind == first.kind]
    if not same:
        return first
    lengths = [one.context_length for one in models if one.kind == first.kind]
    known = [length for length in lengths if length is not None]
    return replace(
        first,
        capabilities=first.capabilities.union(*(one.capabilities for one in same)),
        accepts=first.accepts.union(*(one.accepts for one in same)),
        context_length=max(known) if len(known) == len(lengths) else None,
    )
