"""Registers, drains and deletes upstreams while the gateway runs.

Every gateway process applies a change within a second. Keys are not stored: a row names the
variable or file of the gateway's machine that contains the key.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Changes
from frontend.accounts.directory.rules import check_revision, exists
from frontend.address import BadAddress, Server, parse_grpc, parse_server
from frontend.domain.ids import new_id
from frontend.domain.labels import problem_of_labels
from frontend.domain.upstreams import Backend, Engine
from frontend.errors import Conflict, InvalidRequest
from frontend.store import backends as store
from frontend.store.records import Range, Rows

MAX_WAIT_S = 300.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,80}_API_KEY", re.ASCII)
_MOST = 1000
_SEEN_US = 1_500_000
"""Until every process has read a change and reported what it runs: it reads twice a second."""
_FRESH_US = 10_000_000
_CHECK_S = 0.25


@dataclass(frozen=True, slots=True)
class NewBackend:
    """An upstream to register."""

    name: str
    url: str
    engine: Engine = "triton"
    max_concurrent: int | None = None
    max_num_seqs: int | None = None
    gpu_memory_mib: int | None = None
    priority: int = 0
    external: bool = False
    groups: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    models: tuple[dict[str, Any], ...] = ()
    api_key_env: str | None = None
    api_key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Backends:
    """`resolve` finds the addresses of a server and raises BadAddress for those that are not
    allowed. `named`: names of the upstreams that the settings have. `slots` asks a server how many
    requests its engine runs at once."""

    changes: Changes
    resolve: Callable[[Server], Awaitable[object]]
    named: Collection[str] = ()
    slots: Callable[[Backend], Awaitable[int | None]] | None = None

    async def all(self) -> list[Backend]:
        """Every registered upstream."""
        async with self.changes.database.connect() as rows:
            return await store.BACKENDS.page(rows, Range(_MOST))

    async def get(self, backend_id: str) -> Backend:
        """By id or name. Raises NotFound if there is none, Conflict for one of the settings."""
        async with self.changes.database.connect() as rows:
            return await self._find(rows, backend_id)

    async def register(self, actor: Actor, new: NewBackend) -> Backend:
        """Raises InvalidRequest that names the field, Conflict for a name that is in use."""
        await self._check(new)
        await self._check_slots(_unstored(new))
        async with self.changes.begin(actor, "backends.register") as change:
            if change.kept is None:
                if len(await store.BACKENDS.ids(change.connection)) >= _MOST:
                    raise Conflict(
                        f"there are already {_MOST} backends, which is the maximum; delete one"
                        " first"
                    )
                added, values = new_id(), _columns(new)
                await store.BACKENDS.insert(
                    change.connection,
                    id=added,
                    enabled=True,
                    refreshed_at_us=change.now_us,
                    created_at_us=change.now_us,
                    **values,
                )
                change.note("backend", added, name=new.name, url=new.url, engine=new.engine)
            backend_id = change.target_id if change.kept is None else change.kept["id"]
            return await self._find(change.connection, backend_id)

    async def edit(
        self, actor: Actor, backend_id: str, values: dict[str, Any], revision: str | None = None
    ) -> Backend:
        """Changes the columns in `values`. `revision` is the one that the caller saw; None: any.

        Raises InvalidRequest that names the field, NotFound if the id does not exist, and Conflict
        for another revision.
        """
        if "max_concurrent" in values:
            # asked before the transaction, which must not wait for a server
            await self._check_slots(replace(await self.get(backend_id), **values))
        async with self.changes.begin(actor, "backends.edit") as change:
            one = await self._find(change.connection, backend_id)
            if change.kept is None:
                check_revision(f"the backend '{one.name}'", revision, one.revision)
                edited = replace(one, **values)
                _check_concurrency(edited.max_concurrent, edited.max_num_seqs, "max_num_seqs")
                _check_key(edited)
                _check_labels(edited)
                await store.BACKENDS.update(change.connection, one.id, **values)
                change.note("backend", one.id, name=one.name, **values)
            return await self._find(change.connection, one.id)

    async def enable(self, actor: Actor, backend_id: str) -> Backend:
        """Sends requests to it again, also after a drain. Raises NotFound if it does
        not exist, and Conflict if the settings define it."""
        values = {"enabled": True, "draining_at_us": None}
        return await self._edit(actor, "backends.enable", backend_id, lambda _, __: values)

    async def disable(self, actor: Actor, backend_id: str) -> Backend:
        """Hides its models and sends it no more requests; running ones continue."""
        values = {"enabled": False}
        return await self._edit(actor, "backends.disable", backend_id, lambda _, __: values)

    async def drain(self, actor: Actor, backend_id: str) -> Backend:
        """Sends it no new requests; running ones continue."""

        def values(one: Backend, now_us: int) -> dict[str, Any]:
            return {"draining_at_us": one.draining_at_us or now_us}

        return await self._edit(actor, "backends.drain", backend_id, values)

    async def refresh(self, actor: Actor, backend_id: str) -> Backend:
        """Makes every process look up its name, read its key and connect again."""

        def values(_: Backend, now_us: int) -> dict[str, Any]:
            return {"refreshed_at_us": now_us}

        return await self._edit(actor, "backends.refresh", backend_id, values)

    async def delete(self, actor: Actor, backend_id: str, wait_s: float) -> Backend:
        """Drains it, waits at most `wait_s` for its requests, and deletes it.

        Raises NotFound if the id does not exist, and Conflict with the number of requests that
        still run: it stays drained.
        """
        once = replace(actor, idempotency_key="")  # of the deletion, which follows
        one = await self.drain(once, backend_id)
        ends_s = time.monotonic() + wait_s
        while (running := await self._running(one)) != 0:
            if running is not None and time.monotonic() >= ends_s:
                raise Conflict(
                    f"the backend '{one.name}' still runs {running} requests and gets no new ones;"
                    " send the deletion again when they have ended, or enable the backend",
                    code="backend_busy",
                )
            await asyncio.sleep(_CHECK_S)
        async with self.changes.begin(actor, "backends.delete") as change:
            found = await self._find(change.connection, one.id)
            if found.draining_at_us is None:
                raise Conflict(
                    f"the backend '{one.name}' was enabled in the meantime, so it was not deleted"
                )
            await store.BACKENDS.delete(change.connection, [one.id], change.now_us)
            await store.forget_running(change.connection, one.id)
            change.note("backend", one.id, name=one.name)
        return one

    async def count_running(self, backend_id: str) -> int:
        """Requests that run at a drained backend, in all processes."""
        since_us = self.changes.now_us() - _FRESH_US
        async with self.changes.database.connect() as rows:
            return await store.count_running(rows, backend_id, since_us)

    async def _running(self, one: Backend) -> int | None:
        """The requests that still run; None: not every process has said it yet."""
        if self.changes.now_us() - (one.draining_at_us or 0) < _SEEN_US:
            return None
        return await self.count_running(one.id)

    async def _edit(
        self,
        actor: Actor,
        action: str,
        backend_id: str,
        values: Callable[[Backend, int], dict[str, Any]],
    ) -> Backend:
        async with self.changes.begin(actor, action) as change:
            one = await self._find(change.connection, backend_id)
            await store.BACKENDS.update(change.connection, one.id, **values(one, change.now_us))
            change.note("backend", one.id, name=one.name)
            return await self._find(change.connection, one.id)

    async def _find(self, rows: Rows, backend_id: str) -> Backend:
        found = await store.BACKENDS.find(rows, backend_id)
        if found is None and backend_id.isprintable():
            found = await store.BACKENDS.find_by(rows, name=backend_id)
        if found is None and backend_id in self.named:
            raise Conflict(
                f"the backend '{backend_id}' is defined in the gateway's settings; change it there",
                code="backend_read_only",
            )
        return exists(found, "backend", backend_id)

    async def _check_slots(self, row: Backend) -> None:
        """Raises InvalidRequest for a `max_concurrent` above what the server says that it runs."""
        if self.slots is not None and row.max_concurrent is not None:
            found = await self.slots(row)
            _check_concurrency(row.max_concurrent, found, "max_num_seqs")

    async def _check(self, new: NewBackend) -> None:
        if _NAME.fullmatch(new.name) is None:
            text = "use 1 to 64 letters, digits, '.', '_' and '-'"
            raise InvalidRequest(f"'name' is '{new.name[:64]}': {text}", param="name")
        if new.name in self.named:
            text = (
                f"the gateway's settings already have an upstream '{new.name}'; choose another name"
            )
            raise Conflict(text, param="name")
        _check_concurrency(new.max_concurrent, new.max_num_seqs, "max_num_seqs")
        _check_key(new)
        _check_labels(new)
        triton = new.engine == "triton"
        try:
            await self.resolve(parse_grpc(new.url) if triton else parse_server(new.url))
        except BadAddress as error:
            raise InvalidRequest(f"'url' is '{new.url[:200]}': it {error}", param="url") from None


def _check_concurrency(most: int | None, engine: int | None, named: str) -> None:
    if most is not None and engine is not None and most > engine:
        raise InvalidRequest(
            f"'max_concurrent' is {most}; it must not exceed the engine's '{named}' of"
            f" {engine}, because the fair share does not cover requests that wait inside the"
            " engine",
            param="max_concurrent",
        )


def _check_labels(new: NewBackend | Backend) -> None:
    if (problem := problem_of_labels(new.labels or {}, external=new.external)) is not None:
        raise InvalidRequest(f"'labels' {problem}", param="labels")


def _check_key(new: NewBackend | Backend) -> None:
    variable, file = new.api_key_env, new.api_key_file
    if new.engine == "triton" and (variable or file):
        field = "api_key_env" if variable else "api_key_file"
        raise InvalidRequest(f"'{field}' is not supported for a Triton server", param=field)
    if variable is not None and file is not None:
        text = "'api_key_env' and 'api_key_file' cannot be combined; set one of them"
        raise InvalidRequest(text, param="api_key_file")
    # else an administrator could have any secret of the machine sent to a server of theirs
    if variable is not None and _VARIABLE.fullmatch(variable) is None:
        raise InvalidRequest(
            f"'api_key_env' is '{variable[:80]}'; it must be the name of an environment variable of"
            " the gateway that ends with '_API_KEY', such as OPENAI_API_KEY",
            param="api_key_env",
        )
    if file is not None and _NAME.fullmatch(file) is None:
        raise InvalidRequest(
            f"'api_key_file' is '{file[:80]}'; it must be the name of a file in the folder of the"
            " gateway's setting 'backend_keys'",
            param="api_key_file",
        )


def _unstored(new: NewBackend) -> Backend:
    """A backend as it would be stored, to ask its server."""
    row = _columns(new)
    return Backend(
        id="", enabled=True, draining_at_us=None, refreshed_at_us=0, created_at_us=0, **row
    )


def _columns(new: NewBackend) -> dict[str, Any]:
    return {
        "name": new.name,
        "url": new.url,
        "engine": new.engine,
        "max_concurrent": new.max_concurrent,
        "max_num_seqs": new.max_num_seqs,
        "gpu_memory_mib": new.gpu_memory_mib,
        "priority": new.priority,
        "external": new.external,
        "groups": [*new.groups],
        "labels": new.labels,
        "models": [*new.models],
        "api_key_env": new.api_key_env,
        "api_key_file": new.api_key_file,
    }
