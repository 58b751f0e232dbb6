"""Creates, changes, promotes and ends canaries: several models that share requests for one name.

Every gateway process applies a change within a second; running requests continue.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Changes
from frontend.accounts.directory.rules import check_revision, exists
from frontend.accounts.scopes import allows_model
from frontend.domain.canaries import MAX_TARGETS, Canary, Sticky, Target
from frontend.domain.ids import new_id
from frontend.domain.models import Model
from frontend.errors import Conflict, GatewayError, InvalidRequest, ModelNotFound
from frontend.store.canaries import CANARIES
from frontend.store.records import Range, Rows

MOST = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}", re.ASCII)
_GATEWAY = Actor("gateway", "gateway", frozenset())
Find = Callable[[str], Awaitable[Model]]


@dataclass(frozen=True, slots=True)
class NewCanary:
    """A canary to create; see `domain.canaries`."""

    name: str
    targets: Sequence[Target]
    sticky: Sticky = "user"
    max_error_percent: int = 10
    min_requests: int = 20


@dataclass(frozen=True, slots=True)
class Canaries:
    """Canaries of models. `find` finds a model by its own name and raises GatewayError if there is
    none."""

    changes: Changes
    find: Find

    async def page(self, range_: Range) -> list[Canary]:
        """Canaries in the order of their ids."""
        async with self.changes.database.connect() as rows:
            return await CANARIES.page(rows, range_)

    async def get(self, key: str) -> Canary:
        """A canary, by its id or by the shared name. Raises NotFound if there is none."""
        async with self.changes.database.connect() as rows:
            return await self._find(rows, key)

    async def create(self, actor: Actor, new: NewCanary) -> Canary:
        """Raises InvalidRequest that names the field, Conflict for a name that has one already."""
        if _NAME.fullmatch(new.name) is None:
            text = "use 1 to 128 letters, digits and '._:/@-', the first one a letter or a digit"
            raise InvalidRequest(f"'model' is '{new.name[:128]}': {text}", param="model")
        await self._check(actor, new.name, new.targets)
        async with self.changes.begin(actor, "canaries.create") as change:
            if change.kept is None:
                if len(await CANARIES.ids(change.connection)) >= MOST:
                    raise Conflict(
                        f"there are already {MOST} canaries, which is the maximum; delete one first"
                    )
                if await CANARIES.find_by(change.connection, name=new.name) is not None:
                    raise Conflict(
                        f"the model '{new.name}' already has a canary; change or delete that"
                        " canary",
                        param="model",
                    )
                added = new_id()
                await CANARIES.insert(
                    change.connection,
                    id=added,
                    name=new.name,
                    targets=[asdict(one) for one in new.targets],
                    sticky=new.sticky,
                    max_error_percent=new.max_error_percent,
                    min_requests=new.min_requests,
                    created_at_us=change.now_us,
                    updated_at_us=change.now_us,
                )
                change.note("canary", added, name=new.name)
            key = change.target_id if change.kept is None else change.kept["id"]
            return await self._find(change.connection, key)

    async def edit(
        self, actor: Actor, key: str, values: dict[str, Any], revision: str | None = None
    ) -> Canary:
        """Changes the columns in `values`; new `targets` are in use again if they had failed.

        `revision` is the one that the caller saw. Raises InvalidRequest if a value is not valid,
        NotFound if there is no such canary, and Conflict for another revision.
        """
        known = await self.get(key)
        targets: Sequence[Target] | None = values.get("targets")
        await self._check(actor, known.name, targets if targets is not None else known.shares)
        if targets is not None:
            values = {**values, "targets": [asdict(one) for one in targets]}
        async with self.changes.begin(actor, "canaries.edit") as change:
            one = await self._find(change.connection, known.id)
            if change.kept is None:
                check_revision(f"the canary of '{one.name}'", revision, one.revision)
                now_us = change.now_us
                await CANARIES.update(change.connection, one.id, **values, updated_at_us=now_us)
                change.note("canary", one.id, name=one.name)
            return await self._find(change.connection, one.id)

    async def promote(self, actor: Actor, key: str, model: str) -> Canary:
        """Sends all requests to one of the targets. Raises InvalidRequest if `model` is not a
        target, and NotFound if the canary does not exist."""
        known = await self.get(key)
        names = [one.model for one in known.shares]
        if model not in names:
            text = f"'target' is '{model[:128]}'; the canary's targets are {_listed(names)}"
            raise InvalidRequest(text, param="target")
        only = [Target(model, 100)]
        await self._check(actor, known.name, only, "target")
        async with self.changes.begin(actor, "canaries.promote") as change:
            one = await self._find(change.connection, known.id)
            if change.kept is None:
                await CANARIES.update(
                    change.connection,
                    one.id,
                    targets=[asdict(each) for each in only],
                    updated_at_us=change.now_us,
                )
                change.note("canary", one.id, name=one.name, target=model)
            return await self._find(change.connection, one.id)

    async def delete(self, actor: Actor, key: str) -> Canary:
        """Ends a canary: its name refers to the model of that name again. Raises NotFound if there
        is no canary with this id or name."""
        async with self.changes.begin(actor, "canaries.delete") as change:
            one = await self._find(change.connection, key)
            _require(actor, one.name)
            await CANARIES.delete(change.connection, [one.id], change.now_us)
            change.note("canary", one.id, name=one.name)
        return one

    async def withdraw(self, canary: Canary, model: str, reason: str) -> None:
        """A target failed and gets no more requests, unless the canary was changed meanwhile.
        Raises StoreUnavailable while the database cannot be reached."""
        async with self.changes.begin(_GATEWAY, "canaries.withdraw") as change:
            one = await CANARIES.find(change.connection, canary.id)
            if one is None or one.updated_at_us != canary.updated_at_us:
                return
            targets = [dict(each) for each in one.targets]
            failed = next((each for each in targets if each["model"] == model), None)
            if failed is None or failed["withdrawn_at_us"] is not None:
                return  # another gateway was first
            failed |= {"withdrawn_at_us": change.now_us, "reason": reason}
            await CANARIES.update(change.connection, one.id, targets=targets)
            change.note("canary", one.id, name=one.name, target=model, reason=reason)

    async def _find(self, rows: Rows, key: str) -> Canary:
        found = await CANARIES.find(rows, key)
        if found is None and key.isprintable():
            found = await CANARIES.find_by(rows, name=key)
        return exists(found, "canary", key)

    async def _check(
        self, actor: Actor, name: str, targets: Sequence[Target], field: str = "targets"
    ) -> None:
        """Raises InvalidRequest that names the field and what to do."""
        _require(actor, name)
        _check_shares(targets)
        kinds: dict[str, str] = {}
        for number, one in enumerate(targets):
            at = field if field != "targets" else f"targets[{number}].model"
            if not allows_model(actor.scope, (one.model,)):
                raise ModelNotFound(one.model)
            try:
                model = await self.find(one.model)
            except GatewayError as error:
                text = f"'{at}' is '{one.model}': {error.message}"
                raise InvalidRequest(text, param=at) from None
            if model.name != one.model:
                raise InvalidRequest(
                    f"'{at}' is '{one.model}', an alias of '{model.name}'; use '{model.name}'",
                    param=at,
                )
            kinds[model.kind] = one.model
        if len(kinds) > 1:
            text = " and ".join(f"'{model}' is of the kind {kind}" for kind, model in kinds.items())
            raise InvalidRequest(f"'targets' must be models of one kind: {text}", param="targets")


def _check_shares(targets: Sequence[Target]) -> None:
    names = [one.model for one in targets]
    if not 1 <= len(names) <= MAX_TARGETS:
        text = f"'targets' has {len(names)} models; 1 to {MAX_TARGETS} are allowed"
        raise InvalidRequest(text, param="targets")
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise InvalidRequest(f"'targets' contains '{twice}' twice", param="targets")
    total = sum(one.percent for one in targets)
    if abs(total - 100) > 1e-6:
        raise InvalidRequest(
            f"the 'percent' of all 'targets' must add up to 100, not {total:g}", param="targets"
        )


def _require(actor: Actor, name: str) -> None:
    """Raises ModelNotFound for a name that the actor's key may not use."""
    if not allows_model(actor.scope, (name,)):
        raise ModelNotFound(name)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
