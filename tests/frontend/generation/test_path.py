"""Whichever way a request ends, it is settled once and its slot is free; no end is silent."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from frontend.domain.events import Event
from frontend.domain.generation import Conversation, Generation, Passage
from frontend.domain.images import ImageRequest
from frontend.domain.messages import Message
from frontend.domain.request import Request
from frontend.domain.sampling import Sampling
from frontend.domain.structure import SchemaUse, Structure
from frontend.domain.usage import Usage
from frontend.domain.vectors import Embedding, Pairs
from frontend.errors import (
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    InvalidRequest,
    NotCapable,
    NotFound,
    Overloaded,
    UpstreamLost,
)
from frontend.generation.path import Path
from frontend.generation.policy import Policy
from frontend.scheduling.jobs import Job
from frontend.scheduling.policy import FairShare
from frontend.scheduling.queue import Queue
from frontend.upstreams.fanout import WIDTH
from tests.support.events import MODEL, event, no_images, structures
from tests.support.upstream import ScriptedUpstream, fleet_of, request

PROMPT = Generation(Passage("x"))
ALL = replace(MODEL, capabilities=MODEL.capabilities | {"embedding", "rerank", "image"})


def path_of(
    upstream: ScriptedUpstream, max_running: int = 256, policy: Policy | None = None
) -> Path:
    return Path(
        fleet_of(upstream),
        Queue(FairShare(max_running)),
        structures(),
        no_images(),
        policy or Policy(),
    )


async def collect(
    path: Path, generation: Generation = PROMPT, asked: Request | None = None
) -> list[Event]:
    async with path.open(asked or request(), "m", "chat") as run:
        return [e async for group in run.generate(generation) for e in group]


async def test_events_come_as_they_were_sent_and_are_counted() -> None:
    groups = [
        [event("a"), event("b", completion_tokens=2)],
        [event("c", finish="stop", completion_tokens=3)],
    ]
    path, asked = path_of(ScriptedUpstream(groups)), request("ada")
    assert [e.text for e in await collect(path, asked=asked)] == ["a", "b", "c"]
    assert asked.outcome.usage == Usage(3, 0, 3)
    assert asked.outcome.model == "m"
    assert path.idle


async def test_a_request_that_has_ended_is_freed_at_once() -> None:
    """Its prompt would otherwise stay in memory until the next collection of garbage."""

    class Body(bytearray):
        """One that weak references can follow."""

    path, asked, body = path_of(ScriptedUpstream([[event("a", finish="stop")]])), request(), Body()
    freed, clear = weakref.ref(body), body.clear
    asked.outcome.cleanup.callback(clear)
    gc.disable()
    try:
        await collect(path, asked=asked)
        del asked, body, clear
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("groups", "n"),
    [
        ([], 1),
        ([[event("a")]], 1),
        ([[event("a", finish="stop")]], 2),
        ([[event("a"), event(finish="abort")]], 1),
    ],
)
async def test_an_answer_without_its_end_is_a_failure(groups: list[Any], n: int) -> None:
    path = path_of(ScriptedUpstream(groups))
    with pytest.raises(BackendFailed) as failure:
        await collect(path, Generation(Passage("x"), Sampling(n=n)))
    assert failure.value.code == "incomplete"
    assert path.idle


@pytest.mark.parametrize("reason", ["error", "abort"])
async def test_a_failed_event_ends_nothing_and_counts_what_was_produced(reason: str) -> None:
    failed = event("secret", finish=reason, completion_tokens=7, tool_calls=[{"index": 0}])
    path = path_of(ScriptedUpstream([[event("a")], [failed]], BackendFailed("the engine failed")))
    seen: list[Event] = []
    asked = request()

    async def read() -> None:
        async with path.open(asked, "m") as run:
            async for group in run.generate(PROMPT):
                seen.extend(group)

    with pytest.raises(BackendFailed, match="the engine failed"):
        await read()
    assert [(one.text, one.finish_reason, one.completion_tokens) for one in seen] == [
        ("a", None, 1),
        ("", None, 7),
    ]
    assert not seen[-1].tool_calls
    assert asked.outcome.usage == Usage(3, 0, 7)


async def test_every_attempt_at_an_answer_is_counted() -> None:
    path = path_of(ScriptedUpstream([[event("[]", finish="stop", completion_tokens=2)]]))
    path.structures = structures(retries=2)
    talk = Conversation((Message("user", "a number"),))
    asked, schema = request(), SchemaUse("response_format", {"type": "integer"})
    given = Generation(talk, structure=Structure("json", {}, "response_format"), schemas=(schema,))

    async def ask() -> None:
        async with path.open(asked, "m") as run:
            async for _ in run.generate(await run.prepare(given, whole=True)):
                pass

    with pytest.raises(BackendFailed, match="does not match"):
        await ask()
    assert asked.outcome.usage == Usage(3, 0, 3 * 2)


async def test_a_failure_before_the_first_token_is_no_event() -> None:
    failed = event(finish="error", completion_tokens=0)
    async with path_of(ScriptedUpstream([[failed]])).open(request(), "m") as run:
        with pytest.raises(BackendFailed):
            await anext(run.generate(PROMPT))
    assert not run.usage.completion_tokens


@pytest.mark.parametrize("name", ["grammar", "structural_tag", "regex", "choice"])
async def test_a_constraint_is_accepted_where_the_operator_allows_it(name: Any) -> None:
    generation = Generation(Passage("x"), structure=Structure(name, "a", f"guided_{name}"))
    upstream = ScriptedUpstream([[event("a", finish="stop")]])
    with pytest.raises(InvalidRequest, match="'constraints'") as caught:
        await collect(path_of(upstream), generation)
    assert caught.value.param == f"guided_{name}"
    assert await collect(
        path_of(upstream, policy=Policy(constraints=frozenset({name}))), generation
    )


async def test_losing_the_upstream_is_reported_to_the_registry() -> None:
    path = path_of(ScriptedUpstream([[event("a")]], UpstreamLost("gone")))
    with pytest.raises(BackendUnavailable):
        await collect(path)
    assert not path.fleet.is_ready
    assert path.idle


async def test_stopping_to_read_closes_the_stream_and_frees_the_slot() -> None:
    upstream = ScriptedUpstream([[event("a")], [event("b", finish="stop")]])
    path = path_of(upstream)
    async with path.open(asked := request("ada"), "m") as run:
        async with aclosing(run.generate(PROMPT)) as groups:
            assert [e.text for e in await anext(groups)] == ["a"]
            assert path.queue.running == 1
        assert upstream.closed == ["ada/id"]
        assert path.idle
    assert asked.outcome.usage == Usage(3, 0, 1)


async def test_a_refusal_before_the_upstream_is_settled_without_usage() -> None:
    path = path_of(ScriptedUpstream())
    for name, capability, error in (("other", "chat", NotFound), ("m", "image", NotCapable)):
        asked = request()
        with pytest.raises(error):
            async with path.open(asked, name, capability):
                pytest.fail("it was not refused")
        assert asked.outcome.usage is None
        assert asked.outcome.model == (None if name == "other" else "m")


@pytest.mark.parametrize("end", [RuntimeError("bug"), KeyboardInterrupt()])
async def test_a_crash_in_the_route_is_settled_with_what_was_used(end: BaseException) -> None:
    path, asked = path_of(ScriptedUpstream([[event("a")], [event("b")]])), request()

    async def crash() -> None:
        async with path.open(asked, "m") as run, aclosing(run.generate(PROMPT)) as groups:
            await anext(groups)
            raise end

    with pytest.raises(type(end)):
        await crash()
    assert asked.outcome.usage == Usage(3, 0, 1)
    assert path.idle


async def test_a_client_that_leaves_is_settled_with_what_was_used() -> None:
    upstream = ScriptedUpstream([[event("a")]], hangs=True)
    path, asked, read = path_of(upstream), request(), asyncio.Event()

    async def reads() -> None:
        async with path.open(asked, "m") as run:
            async for _ in run.generate(PROMPT):
                read.set()

    task = asyncio.create_task(reads())
    await read.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert asked.outcome.usage == Usage(3, 0, 1)
    assert upstream.closed == upstream.started
    assert path.idle


async def test_a_request_waits_no_longer_than_until_its_deadline() -> None:
    path = path_of(ScriptedUpstream(hangs=True), max_running=1)
    async with path.queue.slot(Job("other", "ada", "m", 1), 5):
        with pytest.raises(BackendTimeout):
            await collect(path, asked=request(timeout_s=0.01))
    assert path.idle


async def test_an_estimate_is_corrected_by_what_the_engine_counted() -> None:
    path, asked = path_of(ScriptedUpstream([[event("a", finish="stop")]])), request("ada")
    await collect(path, asked=asked)
    ((job, decision),) = [(job, job.decision) for job in path.queue.policy.decisions]
    assert decision is not None
    # three tokens of a prompt, and one of an answer, which costs two
    assert (job.user, job.resource, decision.actual) == ("ada", "m", 3 + 2)
    flow = path.queue.policy.first.find("", "ada")
    assert flow is not None
    assert flow.attained == 5
    await collect(path, asked=request("ada"))
    # the second estimate knows the length of the first answer
    assert path.queue.policy.decisions[-1].cost == 2


async def test_who_leaves_is_charged_for_what_was_computed() -> None:
    for groups, actual in (([[event("a")]], 3 + 2), ([], 50)):
        upstream = ScriptedUpstream(groups, hangs=True)
        path, prompt = path_of(upstream), Generation(Passage("x" * 175))
        task = asyncio.create_task(collect(path, prompt, request("ada")))
        await upstream.begun.wait()
        await asyncio.sleep(0)  # until the event is counted
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (job,) = path.queue.policy.decisions
        assert job.decision is not None
        assert job.decision.actual == actual
        assert path.idle


CALLS: list[tuple[Callable[[Any], Any], Usage | None]] = [
    (lambda run: run.embed(Embedding(["a", "b"])), Usage(5)),
    (lambda run: run.rerank(Pairs(["q"], ["d"])), Usage(7)),
    (lambda run: run.draw(ImageRequest("a", width=32, height=17, count=2)), Usage(3, 0, 8)),
    (lambda run: run.draw(ImageRequest("a", width=32, height=17, stop_after=1)), None),
    (lambda run: run.count_tokens(PROMPT), None),
]


@pytest.mark.parametrize(("call", "usage"), CALLS)
async def test_every_other_call_is_counted_and_scheduled_alike(
    call: Callable[[Any], Any], usage: Usage | None
) -> None:
    upstream = ScriptedUpstream(served=[ALL])
    path, asked = path_of(upstream), request("ada")
    async with path.open(asked, "m") as run:
        await call(run)
    assert asked.outcome.usage == usage
    assert upstream.started == ["ada/id"]
    failing = path_of(ScriptedUpstream(served=[ALL], error=UpstreamLost("gone")))
    asked = request()
    with pytest.raises(BackendUnavailable):
        async with failing.open(asked, "m") as run:
            await call(run)
    assert asked.outcome.usage is None
    assert not failing.fleet.is_ready
    assert failing.idle


async def test_a_preview_and_its_image_have_ids_of_their_own() -> None:
    upstream = ScriptedUpstream(served=[ALL])
    async with path_of(upstream).open(request("ada"), "m") as run:
        for _ in range(3):
            await run.draw(ImageRequest("a"))
    assert len(set(upstream.started)) == 3


async def test_a_draining_path_refuses_and_ends() -> None:
    upstream = ScriptedUpstream(hangs=True)
    path = path_of(upstream)
    task = asyncio.create_task(collect(path))
    await upstream.begun.wait()
    path.drain()
    assert path.draining
    assert not path.idle
    with pytest.raises(Overloaded):
        await collect(path)
    path.abandon()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert path.idle


async def fan_out(path: Path, count: int, asked: Request | None = None) -> dict[int, str]:
    """The joined text of each prompt."""
    texts: dict[int, str] = {}
    async with path.open(asked or request(), "m") as run:
        async for number, group in run.generate_all([PROMPT] * count):
            texts[number] = texts.get(number, "") + "".join(e.text for e in group)
    return texts


async def test_many_prompts_run_side_by_side_within_bounds() -> None:
    upstream = ScriptedUpstream([[event("a")], [event("b", finish="stop")]])
    path, asked = path_of(upstream), request()
    assert await fan_out(path, 3 * WIDTH, asked) == dict.fromkeys(range(3 * WIDTH), "ab")
    assert len(set(upstream.started)) == 3 * WIDTH
    assert upstream.most_at_once <= WIDTH
    assert asked.outcome.usage == Usage(9 * WIDTH, 0, 3 * WIDTH)
    assert path.idle


async def test_many_prompts_wait_for_few_slots() -> None:
    path = path_of(ScriptedUpstream([[event("a", finish="stop")]]), max_running=2)
    assert len(await fan_out(path, 50)) == 50


@pytest.mark.parametrize("error", [Overloaded("no"), BackendFailed("no"), RuntimeError("bug")])
async def test_the_first_failure_ends_all(error: Exception) -> None:
    upstream = ScriptedUpstream([[event("a")]], error)
    path = path_of(upstream)
    with pytest.raises(type(error)):
        await fan_out(path, 5)
    assert sorted(upstream.closed) == sorted(upstream.started)
    assert path.idle


async def test_an_aborted_answer_is_read_to_its_end_and_the_abort_is_not_shown() -> None:
    """To stop reading would cancel the call while its last response is on its way."""
    groups = [[event("a"), event(finish="abort")], [event(index=1, finish="stop")]]
    path = path_of(ScriptedUpstream(groups))
    async with path.open(request(), "m") as run:
        events = run.generate(Generation(Passage("x"), Sampling(n=2)))
        reasons = [one.finish_reason for _ in range(2) for one in await anext(events)]
        assert reasons == [None, None, "stop"], "the abort only counts what was produced"
        with pytest.raises(BackendFailed):
            await anext(events)


async def test_a_prompt_that_the_upstream_does_not_count_is_estimated_and_marked() -> None:
    uncounted = ScriptedUpstream([[event("a", finish="stop", prompt_tokens=0)]])
    asked = request()
    await collect(path_of(uncounted), Generation(Passage("x" * 35)), asked)
    assert asked.outcome.usage == Usage(10, completion_tokens=1)
    assert asked.outcome.is_estimated
    # an upstream that counts at the end is trusted
    late = [[event("a", prompt_tokens=0)], [event("b", finish="stop", completion_tokens=2)]]
    asked = request()
    await collect(path_of(ScriptedUpstream(late)), Generation(Passage("x" * 35)), asked)
    assert asked.outcome.usage == Usage(3, completion_tokens=2)
    assert not asked.outcome.is_estimated


async def test_who_leaves_before_the_upstream_counts_is_charged_for_the_prompt() -> None:
    path = path_of(ScriptedUpstream([[event("a", prompt_tokens=0)]], hangs=True))
    asked, read = request(), asyncio.Event()

    async def ask() -> None:
        prompt = Generation(Passage("x" * 35))
        async with path.open(asked, "m", "chat") as run, aclosing(run.generate(prompt)) as groups:
            async for _ in groups:
                read.set()

    task = asyncio.create_task(ask())
    await read.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert asked.outcome.usage == Usage(10, completion_tokens=1)
    assert asked.outcome.is_estimated
