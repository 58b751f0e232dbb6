"""What operators see and change of models: their state at each upstream, loading and unloading.

A change continues when its caller disconnects, and is noted in the admin events when it has
ended, whether it succeeded or not. Requests to other models continue meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Changes
from frontend.accounts.scopes import allows_model
from frontend.domain.copies import Copy, StoredModel
from frontend.domain.identity import Scope
from frontend.domain.models import Version
from frontend.errors import GatewayError, ModelNotFound, NotFound, NotSupported, StoreUnavailable
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.member import Member
from frontend.upstreams.names import spellings
from frontend.upstreams.residency import LOADING, UNLOADING

_SEPARATORS = "._"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """A model at one upstream, by the name that it has there."""

    member: Member
    name: str


@dataclass(slots=True)
class Management:
    """The models of a fleet, for those who may load and unload them."""

    fleet: Fleet
    changes: Changes
    _tasks: set[asyncio.Task[GatewayError | None]] = field(default_factory=set)

    async def all(self, scope: Scope) -> list[StoredModel]:
        """Every model that the key may use, by name, with its copies."""
        copies = await asyncio.gather(*map(_copies, self.fleet.members))
        models: dict[str, StoredModel] = {}
        for member, names in zip(self.fleet.members, copies, strict=True):
            for name, copy in names.items():
                known = member.registry.served.known.get(name)
                one = models.setdefault(name, StoredModel(name, known))
                one.copies.append(copy)
                if one.model is None and known is not None:
                    models[name] = replace(one, model=known)
        allowed = (one for one in models.values() if allows_model(scope, _names(one)))
        return sorted(allowed, key=lambda one: one.name)

    async def get(self, scope: Scope, name: str) -> StoredModel:
        """One model, by any of its names. Raises ModelNotFound if there is none in the scope."""
        spelled = spellings(name)
        models = await self.all(scope)
        for names in (lambda one: [one.name], _names):
            for one in models:
                if any(each in spelled for each in names(one)):
                    return one
        raise ModelNotFound(name)

    async def load(
        self, actor: Actor, name: str, upstream: str | None, wait_s: float
    ) -> StoredModel:
        """Loads a model at one upstream, or at each that has it; returns when that is done, or
        after `wait_s`. Raises GatewayError when it failed everywhere."""
        return await self._change(
            actor, await self._targets(actor, name, upstream), LOADING, wait_s
        )

    async def unload(
        self, actor: Actor, name: str, upstream: str | None, wait_s: float
    ) -> StoredModel:
        """Unloads a model, as `load` loads it, after the requests that use it."""
        targets = await self._targets(actor, name, upstream)
        return await self._change(actor, targets, UNLOADING, wait_s)

    async def _targets(self, actor: Actor, asked: str, upstream: str | None) -> list[Target]:
        """Where the model can be changed. Raises NotFound if no upstream has it, NotSupported if
        none can change it, and the error of an upstream if none answers."""
        members = [one for one in self.fleet.members if one.enabled]
        if upstream is not None:
            members = [self._member(upstream)]
        able = [one for one in members if one.upstream.manages_models]
        found = await asyncio.gather(*(_find(one, asked) for one in able), return_exceptions=True)
        targets = [one for one in found if isinstance(one, Target)]
        if any(not allows_model(actor.scope, (asked, one.name)) for one in targets):
            raise ModelNotFound(asked)
        if targets:
            return targets
        for error in found:
            if isinstance(error, BaseException):
                raise error
        raise _refusal(asked, members, able)

    def _member(self, name: str) -> Member:
        if (member := self.fleet.member(name)) is None:
            names = ", ".join(f"'{one.name}'" for one in self.fleet.members) or "none"
            text = f"there is no upstream '{name[:100]}'; there are: {names}"
            raise NotFound(text, param="upstream")
        return member

    async def _change(
        self, actor: Actor, targets: Sequence[Target], state: str, wait_s: float
    ) -> StoredModel:
        tasks = [asyncio.create_task(self._change_one(actor, one, state)) for one in targets]
        for task in tasks:
            # kept here, since the caller that waits for them may go away
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.wait(tasks, timeout=wait_s)
        errors = [task.result() if task.done() else None for task in tasks]
        failures = [error for error in errors if error is not None]
        if len(failures) == len(targets):
            raise failures[0]
        one = await self.get(actor.scope, targets[0].name)
        failed = {
            target.member.name: error.message
            for target, error in zip(targets, errors, strict=True)
            if error is not None
        }
        copies = [replace(copy, error=failed.get(copy.upstream)) for copy in one.copies]
        return replace(one, copies=copies)

    async def _change_one(self, actor: Actor, target: Target, state: str) -> GatewayError | None:
        registry, name = target.member.registry, target.name
        before, error, started_s = registry.state(name), None, time.monotonic()
        try:
            await (registry.load(name) if state == LOADING else registry.unload(name))
        except GatewayError as failure:
            error = failure
        took_s = round(time.monotonic() - started_s, 3)
        await self._note(actor, target, state, (before, registry.state(name)), error, took_s)
        return error

    async def _note(
        self,
        actor: Actor,
        target: Target,
        state: str,
        states: tuple[str, str],
        error: GatewayError | None,
        took_s: float,
    ) -> None:
        action = "models.load" if state == LOADING else "models.unload"
        # loading twice is loading once: there is no answer that a repetition must be given again
        actor = replace(actor, idempotency_key="")
        details = {"upstream": target.member.name, "seconds": took_s}
        if error is not None:
            details["error"] = error.code or error.type
        try:
            async with self.changes.begin(actor, action) as change:
                change.note("model", target.name, **details)
                row = f"{target.name}@{target.member.name}"
                before, after = ({"state": one} for one in states)
                change.rows.append(("model", row, before, after))
        except (StoreUnavailable, TimeoutError) as failure:
            _log.error("the event %s of %s was not written: %s", action, target.name, failure)

    async def close(self) -> None:
        """Stops waiting for changes; the server completes them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _find(member: Member, asked: str) -> Target | None:
    name = await member.registry.find_stored(spellings(asked))
    return None if name is None else Target(member, name)


def _refusal(asked: str, members: Sequence[Member], able: Sequence[Member]) -> GatewayError:
    spelled = spellings(asked)
    for one in members:
        if one not in able and (len(members) == 1 or one.registry.match(spelled) is not None):
            return NotSupported(
                f"the upstream '{one.name}' ({one.placing.engine}) does not load or unload models"
                " for this gateway; load and unload them at the server",
                param="upstream",
            )
    where = f"the upstream '{members[0].name}' has no" if len(members) == 1 else "no upstream has a"
    text = f"{where} model '{asked[:100]}'; GET /admin/models lists them"
    return NotFound(text, param="model", code="model_not_found")


def _names(one: StoredModel) -> list[str]:
    return [one.name] if one.model is None else [one.name, *one.model.aliases]


async def _copies(member: Member) -> dict[str, Copy]:
    """The models that an upstream has, by name."""
    registry = member.registry
    try:
        stored = dict(await member.upstream.stored())
    except GatewayError:
        stored = {}
    # versions are shown with their model
    served = {one.name for one in registry.models if not one.version_of} | set(registry.absent)
    names = served | {name for name in stored if name not in served and not _is_part(name, stored)}
    return {name: _copy(member, name, stored.get(name, ())) for name in names}


def _is_part(name: str, stored: Container[str]) -> bool:
    """Whether it is a step of another model, or a hidden folder: by its name, since no config says
    it before it is loaded."""
    if name.startswith("."):
        return True
    ends = (place for place, letter in enumerate(name) if letter in _SEPARATORS)
    return any(name[:end] in stored for end in ends)


def _copy(member: Member, name: str, versions: Sequence[Version]) -> Copy:
    registry, residency = member.registry, member.registry.residency
    model = registry.served.known.get(name)
    used = [one.used_at_s for one in versions if one.used_at_s is not None]
    if (own := residency.used_at_s(name)) is not None:
        used.append(own)
    return Copy(
        member.name,
        _state(registry.state(name), versions),
        versions,
        residency.running(name),
        max(used, default=None),
        residency.keep_s if model is None or model.keep_s is None else model.keep_s,
        None if model is None or not registry.is_loaded(name) else residency.expires_s(model),
    )


def _state(known: str, versions: Sequence[Version]) -> str:
    """`known`: what this gateway knows. Other gateways and operators load and unload, too."""
    states = {one.state for one in versions}
    if known != "unloaded":
        return known
    return next((one for one in ("loading", "unloading", "failed") if one in states), known)
