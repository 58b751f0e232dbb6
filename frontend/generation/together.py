"""Embeds texts of several requests in one call, if they wait for the same model.

A single text is sent without a delay. While calls run, others collect; they are sent when
a call ends or the first of them has waited for `delay_s`. Owners take turns in a call, and an input
that is refused fails only its own request.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from frontend.domain.vectors import Embedding, Vectors
from frontend.errors import BackendTimeout, BackendUnavailable, GatewayError
from frontend.upstreams.placement import Place
from frontend.upstreams.protocol import Call

_SHARED = (BackendTimeout, BackendUnavailable)
"""Errors of the server, which every request of the call has; others may be of one text."""


@dataclass(slots=True, eq=False)
class _Waiting:
    embedding: Embedding
    owner: str
    call: Call
    since_s: float
    done: asyncio.Future[Vectors]

    @property
    def count(self) -> int:
        return len(self.embedding.texts)


@dataclass(slots=True)
class Together:
    """`max_texts` of one call; 1: each request has its own. `at_once`: calls of one model."""

    max_texts: int = 64
    delay_s: float = 0.02
    at_once: int = 2
    _lines: "dict[tuple[int, str, bool, bool], _Line]" = field(default_factory=dict)

    async def embed(self, place: Place, embedding: Embedding, owner: str) -> Vectors:
        """The vectors of one request. Raises GatewayError if the upstream fails."""
        fits = len(embedding.texts) * 2 <= self.max_texts
        if not fits or not place.upstream.shares_calls:
            return await place.upstream.embed(place.model, embedding, place.call)
        # truncation is asked for by call, and ids and texts are different tensors
        key = id(place.upstream), place.model.name, embedding.truncate, embedding.ids is None
        if (line := self._lines.get(key)) is None:
            line = self._lines[key] = _Line(self, place, partial(self._lines.pop, key, None))
        # as the upstream has the model now
        line.place = place
        return await line.embed(embedding, place.call, owner)


@dataclass(slots=True)
class _Line:
    """The requests for one model at one upstream."""

    rules: Together
    place: Place
    forget: Callable[[], object]
    """Called when nobody waits, and nothing runs."""
    running: int = 0
    _owners: dict[str, deque[_Waiting]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _timer: asyncio.TimerHandle | None = None

    async def embed(self, embedding: Embedding, call: Call, owner: str) -> Vectors:
        loop = asyncio.get_running_loop()
        one = _Waiting(embedding, owner, call, loop.time(), loop.create_future())
        self._owners.setdefault(owner, deque()).append(one)
        self._send()
        try:
            return await one.done
        finally:
            self._leave(one)

    def _leave(self, one: _Waiting) -> None:
        """A request that has ended does not wait any more; its call continues for the others."""
        if (line := self._owners.get(one.owner)) is not None and one in line:
            line.remove(one)
            if not line:
                del self._owners[one.owner]

    def _send(self) -> None:
        """Sends what may go now, and looks again when the first of the others is due."""
        now_s = asyncio.get_running_loop().time()
        while self._owners and (self.running < self.rules.at_once or self._due_s() <= now_s):
            calls = self._take()
            self.running += 1
            task = asyncio.create_task(self._run(calls))
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, calls))
        if self._owners and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._due_s(), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._send()

    def _ended(self, calls: Sequence[_Waiting], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        for one in calls:
            # whatever happened: nobody waits for a call that has ended
            _fail(one, error or asyncio.CancelledError())
        self.running -= 1
        self._send()
        if not self.running and not self._owners:
            if self._timer is not None:
                self._timer.cancel()
            self.forget()

    def _due_s(self) -> float:
        return min(line[0].since_s for line in self._owners.values()) + self.rules.delay_s

    def _take(self) -> list[_Waiting]:
        """Requests for one call: one of each owner in turn, in their order."""
        taken: list[_Waiting] = []
        room = self.rules.max_texts
        owners = deque(self._owners.items())
        while owners:
            owner, line = owners.popleft()
            if line[0].count > room:
                continue
            one = line.popleft()
            taken.append(one)
            room -= one.count
            # an owner that was served goes behind the others, in the next call as well
            del self._owners[owner]
            if line:
                self._owners[owner] = line
                owners.append((owner, line))
        return taken

    async def _run(self, calls: Sequence[_Waiting]) -> None:
        if len(calls) == 1:
            await self._run_one(calls[0])
            return
        try:
            parts = await self._call(calls)
        except _SHARED as error:
            for one in calls:
                _fail(one, error)
        except GatewayError:
            # one of the texts may be the reason: each request finds out for itself
            await asyncio.gather(*map(self._run_one, calls))
        except BaseException as error:
            for one in calls:
                _fail(one, error)
            raise
        else:
            for one, vectors in zip(calls, parts, strict=True):
                if not one.done.done():
                    one.done.set_result(vectors)

    async def _run_one(self, one: _Waiting) -> None:
        place = self.place
        try:
            vectors = await place.upstream.embed(place.model, one.embedding, one.call)
        except GatewayError as error:
            _fail(one, error)
        except BaseException as error:
            _fail(one, error)
            raise
        else:
            if not one.done.done():
                one.done.set_result(vectors)

    async def _call(self, calls: Sequence[_Waiting]) -> list[Vectors]:
        """The vectors of each request, computed in one call. Raises GatewayError if the upstream
        fails."""
        joined = _join([one.embedding for one in calls])
        longest_s = max(one.call.timeout_s for one in calls)
        call = replace(calls[0].call, id=f"{calls[0].call.id}-together", timeout_s=longest_s)
        vectors = await self.place.upstream.embed(self.place.model, joined, call)
        return vectors.split([one.count for one in calls])


def _join(embeddings: Sequence[Embedding]) -> Embedding:
    first = embeddings[0]
    texts = [text for one in embeddings for text in one.texts]
    if first.ids is None:
        return Embedding(texts, first.truncate)
    return Embedding(texts, first.truncate, [ids for one in embeddings for ids in one.ids or ()])


def _fail(one: _Waiting, error: BaseException) -> None:
    if one.done.done():
        return
    if isinstance(error, asyncio.CancelledError):
        one.done.cancel()
    else:
        # an error is changed on its way to a client: names of fields, the traceback
        one.done.set_exception(_copy(error))


def _copy(error: BaseException) -> BaseException:
    """The same error. `copy.copy` would call its class, which may need more than a message."""
    same = type(error).__new__(type(error), *error.args)
    same.__dict__.update(error.__dict__)
    return same
