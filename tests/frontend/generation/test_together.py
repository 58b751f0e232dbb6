"""Requests that share a call: all of them answered, owners in turn, and one failure for one."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from frontend.domain.models import Model
from frontend.domain.trace import Step
from frontend.domain.vectors import Embedding, Vectors
from frontend.errors import BackendUnavailable, ContextOverflow, GatewayError, InvalidRequest
from frontend.generation.together import Together
from frontend.upstreams.member import Member
from frontend.upstreams.placement import Place
from frontend.upstreams.protocol import Call
from frontend.upstreams.registry import Registry
from tests.support.events import MODEL
from tests.support.upstream import ScriptedUpstream


class Embedder(ScriptedUpstream):
    """Embeds a text as its length; a call runs until `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.gate = asyncio.Event()
        self.failure: GatewayError | None = None

    @property
    def shares_calls(self) -> bool:
        return True

    async def embed(self, model: Model, embedding: Embedding, call: Call) -> Vectors:
        texts = embedding.texts
        self.calls.append(texts)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if "bad" in texts:
            raise InvalidRequest("too long", param=f"input[{texts.index('bad')}]")
        counts = tuple(map(len, texts))
        raw = b"".join(len(text).to_bytes(4, "little") for text in texts)
        return Vectors(raw, len(texts), 1, sum(counts), counts=counts)


class Line:
    """Requests to one model."""

    def __init__(self, **rules: Any) -> None:
        self.upstream = Embedder()
        self.together = Together(**{"delay_s": 60, "at_once": 1, **rules})
        self._member = Member("one", self.upstream, Registry(self.upstream, 60))
        self._tasks: list[asyncio.Task[Vectors]] = []

    def ask(self, *texts: str, owner: str = "a", truncate: bool = False) -> asyncio.Task[Vectors]:
        place = Place(self._member, MODEL, Call(f"{owner}/{len(self._tasks)}", 5), Step())
        embedding = Embedding([*texts], truncate)
        self._tasks.append(asyncio.create_task(self.together.embed(place, embedding, owner)))
        return self._tasks[-1]

    async def settled(self) -> None:
        """Every request has come as far as it can."""
        for _ in range(5):
            await asyncio.sleep(0)


def numbers(vectors: Vectors) -> list[int]:
    return list(memoryview(vectors.raw).cast("i"))


async def test_those_that_wait_share_the_next_call_and_get_their_own_vectors() -> None:
    line = Line()
    first = line.ask("x")
    await line.settled()
    others = [line.ask("aa"), line.ask("bbb", "c"), line.ask("dddd")]
    await line.settled()
    assert line.upstream.calls == [["x"]], "the first does not wait for anybody"
    line.upstream.gate.set()
    assert numbers(await first) == [1]
    found = [await one for one in others]
    assert [numbers(one) for one in found] == [[2], [3, 1], [4]]
    assert [one.prompt_tokens for one in found] == [2, 4, 4]
    assert line.upstream.calls == [["x"], ["aa", "bbb", "c", "dddd"]]
    await line.settled()
    assert not line.together._lines, "nothing is left behind"


async def test_owners_take_turns_and_a_call_has_a_bound() -> None:
    line = Line(max_texts=4)
    line.ask("x")
    await line.settled()
    for number in range(6):
        line.ask(f"a{number}", owner="a")
    line.ask("b0", owner="b")
    line.ask("c0", owner="c")
    await line.settled()
    line.upstream.gate.set()
    await asyncio.gather(*line._tasks)
    assert line.upstream.calls[1:] == [["a0", "b0", "c0", "a1"], ["a2", "a3", "a4", "a5"]]


async def test_a_wait_is_bounded_though_calls_run() -> None:
    line = Line(delay_s=0)
    tasks = [line.ask("x")]
    await line.settled()
    tasks.append(line.ask("y"))
    await line.settled()
    assert line.upstream.calls == [["x"], ["y"]]
    line.upstream.gate.set()
    await asyncio.gather(*tasks)


async def test_a_bad_text_fails_its_own_request_alone() -> None:
    line = Line()
    line.ask("x")
    await line.settled()
    good, bad, late = line.ask("aa"), line.ask("c", "bad"), line.ask("dd")
    line.upstream.gate.set()
    assert [numbers(await one) for one in (good, late)] == [[2], [2]]
    with pytest.raises(InvalidRequest) as refused:
        await bad
    assert refused.value.param == "input[1]", "the place in its own request"


async def test_an_error_keeps_what_it_says() -> None:
    line = Line()
    line.upstream.gate.set()
    line.upstream.failure = ContextOverflow("long", limit=8, prompt_tokens=9, requested_tokens=0)
    with pytest.raises(ContextOverflow) as refused:
        await line.ask("x")
    assert (refused.value.limit, refused.value.message) == (8, "long")


async def test_a_fault_of_the_code_reaches_every_request() -> None:
    line = Line()
    line.ask("x")
    await line.settled()
    line.ask("a")
    line.ask("b")
    line.upstream.failure = KeyError("x")  # type: ignore[assignment]
    line.upstream.gate.set()
    errors = await asyncio.gather(*line._tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [KeyError] * 3


async def test_a_lost_server_fails_all_without_asking_it_again() -> None:
    line = Line()
    line.ask("x")
    await line.settled()
    waiting = [line.ask("a"), line.ask("b")]
    line.upstream.failure = BackendUnavailable("away")
    line.upstream.gate.set()
    errors = await asyncio.gather(*line._tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [BackendUnavailable] * 3
    assert errors[1] is not errors[2], "each may be changed on its way"
    assert len(line.upstream.calls) == 2
    assert all(one.done() for one in waiting)


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    line = Line()
    line.ask("x")
    await line.settled()
    stays, leaves = line.ask("stays"), line.ask("leaves")
    await line.settled()
    leaves.cancel()
    await line.settled()
    line.upstream.gate.set()
    assert numbers(await stays) == [5]
    assert line.upstream.calls[1] == ["stays"]


@pytest.mark.parametrize("texts", [("a",) * 33, ("a", "b")])
async def test_long_requests_and_other_options_do_not_share(texts: Sequence[str]) -> None:
    line = Line()
    line.upstream.gate.set()
    tasks = [line.ask(*texts), line.ask("c", truncate=True)]
    await asyncio.gather(*tasks)
    assert sorted(line.upstream.calls) == sorted([[*texts], ["c"]])
