"""Where requests go: constraints, retries before the first byte, places, breakers and drain."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from frontend.domain.events import Event
from frontend.domain.generation import Generation, Passage
from frontend.domain.identity import ANONYMOUS
from frontend.errors import (
    BackendFailed,
    BackendUnavailable,
    Forbidden,
    InvalidRequest,
    UpstreamBusy,
    UpstreamLost,
)
from frontend.generation.path import Path
from frontend.generation.policy import Policy
from frontend.scheduling.policy import FairShare
from frontend.scheduling.queue import Queue
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.health import FAILURES
from frontend.upstreams.member import Placing
from frontend.upstreams.need import Need
from frontend.upstreams.probes import try_again
from tests.support.events import MODEL, event, no_images, structures
from tests.support.upstream import ScriptedUpstream, fleet_of, request

WHOLE = [[event("a", finish="stop")]]


def path_of(fleet: Fleet, policy: Policy | None = None) -> Path:
    return Path(fleet, Queue(FairShare(64)), structures(), no_images(), policy or Policy())


async def ask(path: Path) -> list[Event]:
    async with path.open(request(), "m") as run:
        return [e async for group in run.generate(Generation(Passage("x"))) for e in group]


def prefer(fleet: Fleet, name: str) -> None:
    member = fleet.member(name)
    assert member is not None
    member.placing = replace(member.placing, priority=10)


@pytest.mark.parametrize("error", [UpstreamLost("gone"), BackendFailed("no"), UpstreamBusy("full")])
async def test_a_failure_before_the_first_byte_goes_to_another_one(error: Exception) -> None:
    fails, works = ScriptedUpstream(error=error), ScriptedUpstream(WHOLE)
    fleet = fleet_of(fails, works)
    prefer(fleet, "a")
    assert [e.text for e in await ask(path_of(fleet))] == ["a"]
    assert (len(fails.started), len(works.started)) == (1, 1)
    assert [one.running for one in fleet.members] == [0, 0]


async def test_a_whole_answer_that_broke_off_comes_from_another_one_and_counts_once() -> None:
    breaks = ScriptedUpstream([[event("half ")]], UpstreamLost("gone"))
    fleet = fleet_of(breaks, ScriptedUpstream(WHOLE))
    prefer(fleet, "a")
    async with path_of(fleet).open(request(), "m") as run:
        ready = await run.prepare(Generation(Passage("x")), whole=True)
        events = [e for group in [g async for g in run.generate(ready)] for e in group]
        assert [e.text for e in events] == ["a"]
        assert run.usage.completion_tokens == events[-1].completion_tokens


async def test_a_failure_after_the_first_byte_stays_a_failure() -> None:
    fails = ScriptedUpstream([[event("a")]], UpstreamLost("gone"))
    works = ScriptedUpstream(WHOLE)
    fleet = fleet_of(fails, works)
    prefer(fleet, "a")
    with pytest.raises(UpstreamLost):
        await ask(path_of(fleet))
    assert not works.started


async def test_a_mistake_of_the_caller_is_not_sent_twice_and_opens_no_breaker() -> None:
    one, two = (ScriptedUpstream(error=InvalidRequest("no")) for _ in range(2))
    fleet = fleet_of(one, two)
    prefer(fleet, "a")
    path = path_of(fleet)
    for _ in range(FAILURES + 1):
        with pytest.raises(InvalidRequest):
            await ask(path)
    assert not two.started
    assert fleet.members[0].broken == {}


async def test_an_open_breaker_keeps_requests_away_until_all_are_open() -> None:
    fails, works = ScriptedUpstream(error=BackendFailed("no")), ScriptedUpstream(WHOLE)
    fleet = fleet_of(fails, works)
    prefer(fleet, "a")
    path = path_of(fleet)
    for _ in range(FAILURES + 3):
        await ask(path)
    assert len(fails.started) == FAILURES
    works.error, works.groups = BackendFailed("no"), ()
    for _ in range(FAILURES + 1):
        with pytest.raises(BackendFailed):
            await ask(path)
    assert len(fails.started) > FAILURES, "with all of them open they do not count"


async def test_a_probe_closes_the_breaker_of_a_model_that_works_again() -> None:
    now = [0.0]
    upstream = ScriptedUpstream(error=BackendFailed("no"))
    fleet = fleet_of(upstream)
    (member,) = fleet.members
    member.clock = lambda: now[0]
    for _ in range(FAILURES):
        with pytest.raises(BackendFailed):
            await ask(path_of(fleet))
    asked = len(upstream.started)
    await try_again(member)
    assert len(upstream.started) == asked, "it has not cooled down"
    now[0] += 100
    await try_again(member)
    assert member.is_open("m")
    upstream.error, upstream.groups = None, WHOLE
    now[0] += 100
    await try_again(member)
    assert not member.is_open("m")


async def test_a_model_that_is_not_available_does_not_take_its_server_away() -> None:
    fleet = fleet_of(ScriptedUpstream(error=BackendUnavailable("this model")))
    with pytest.raises(BackendUnavailable):
        await ask(path_of(fleet))
    assert fleet.is_ready


async def test_constraints_are_kept() -> None:
    outside, small = ScriptedUpstream(WHOLE), ScriptedUpstream(WHOLE)
    fleet = fleet_of(outside, small)
    model = await fleet.find("m")
    first, second = fleet.members
    first.placing = Placing(external=True)
    places = path_of(fleet).places

    async def chosen(need: Need) -> str:
        async with places.hold(model, need, set(), "id", 1) as member:
            return member.name

    assert {await chosen(Need(local=True)) for _ in range(8)} == {"b"}
    second.draining = True
    assert await chosen(Need()) == "a"
    with pytest.raises(BackendUnavailable):
        await chosen(Need(local=True))
    second.placing = Placing(groups=frozenset({"staff"}))
    with pytest.raises(Forbidden):
        await chosen(Need(local=True, group="students"))


async def test_prompts_that_must_stay_are_refused_where_only_an_external_one_has_the_model() -> (
    None
):
    outside = ScriptedUpstream(WHOLE)
    fleet = fleet_of(outside)
    fleet.members[0].placing = Placing(external=True)
    with pytest.raises(Forbidden, match="outside this site"):
        await ask(path_of(fleet, Policy(local_groups=frozenset({"*"}))))
    assert not outside.started
    assert await ask(path_of(fleet, Policy(local_groups=frozenset({"staff"}))))


RULES = (("site", ("local",)), ("trust", ("high", "medium")))


@pytest.mark.parametrize(
    ("placing", "allowed"),
    [
        (Placing(labels={"trust": "high"}), True),
        (Placing(labels={"trust": "medium", "region": "eu"}), True),
        (Placing(labels={"trust": "low"}), False),
        (Placing(), False),
        (Placing(labels={"trust": "high"}, external=True), False),
        (Placing(labels={"trust": "high", "site": "berlin"}), False),
    ],
)
async def test_a_group_gets_only_upstreams_with_the_labels_of_its_policy(
    placing: Placing, allowed: bool
) -> None:
    fleet = fleet_of(ScriptedUpstream(WHOLE))
    model = await fleet.find("m")
    fleet.members[0].placing = placing
    places = path_of(fleet).places
    assert places.serves("m", Need(rules=RULES)) is allowed
    holding = places.hold(model, Need(rules=RULES), set(), "id", 1)
    if allowed:
        async with holding as member:
            assert member.name == "a"
        return
    with pytest.raises(Forbidden, match=r"site=local trust=high,medium") as raised:
        async with holding:
            pass
    assert raised.value.code == "upstream_policy"


async def test_a_failed_request_is_not_sent_to_an_upstream_outside_the_policy() -> None:
    fails, forbidden = ScriptedUpstream(error=UpstreamLost("gone")), ScriptedUpstream(WHOLE)
    fleet = fleet_of(fails, forbidden)
    fleet.members[0].placing = Placing(labels={"trust": "high"})
    fleet.members[1].placing = Placing(labels={"trust": "low"}, priority=50)
    asked = replace(request(), caller=replace(ANONYMOUS, rules=(("trust", ("high",)),)))
    with pytest.raises(UpstreamLost):
        async with path_of(fleet).open(asked, "m") as run:
            _ = [e async for e in run.generate(Generation(Passage("x")))]
    # the allowed one may come back, so this is not a refusal by the policy
    with pytest.raises(BackendUnavailable):
        async with path_of(fleet).open(asked, "m") as run:
            _ = [e async for e in run.generate(Generation(Passage("x")))]
    assert fails.started
    assert not forbidden.started


async def test_a_full_upstream_makes_requests_wait_in_order() -> None:
    fleet = fleet_of(ScriptedUpstream(WHOLE))
    model = await fleet.find("m")
    (member,) = fleet.members
    member.placing = Placing(max_running=1)
    places, order = path_of(fleet).places, list[int]()
    assert places.room("m") == 1

    async def take(number: int) -> None:
        async with places.hold(model, Need(), set(), str(number), 5):
            order.append(number)

    async with places.hold(model, Need(), set(), "first", 5):
        assert places.room("m") == 0
        tasks = [asyncio.create_task(take(number)) for number in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert not order
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 2, 3]
    assert member.running == 0


async def test_models_of_several_upstreams_are_one_list() -> None:
    other = replace(MODEL, name="other", aliases=())
    abler = replace(MODEL, capabilities=frozenset({"chat", "vision"}), context_length=128)
    fleet = fleet_of(ScriptedUpstream(served=[MODEL]), ScriptedUpstream(served=[abler, other]))
    whole = await fleet.find("alias")
    assert whole.capabilities == {"chat", "completion", "vision"}
    assert whole.context_length == 128
    assert [one.name for one in fleet.models] == ["m", "other"]
    assert (await fleet.find("other")).name == "other"
    found: dict[str, Any] = fleet.names
    assert [*found] == ["alias", "m", "other"]
