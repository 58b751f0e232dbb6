"""The registry follows its upstream, and tells apart what is gone and what never was."""

import asyncio
from dataclasses import replace
from itertools import repeat

import pytest

from frontend.errors import BackendFailed, BackendUnavailable, NotFound, UpstreamLost
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.health import FAILURES
from frontend.upstreams.member import Member
from frontend.upstreams.registry import Registry
from tests.support.events import MODEL
from tests.support.upstream import ScriptedUpstream, fleet_of


def serving(*names: str) -> ScriptedUpstream:
    models = [replace(MODEL, name=name, aliases=(f"{name}-alias", "shared")) for name in names]
    return ScriptedUpstream(served=models)


def registry(upstream: ScriptedUpstream) -> Fleet:
    return fleet_of(upstream)


async def test_a_model_is_found_by_name_and_alias() -> None:
    found = registry(serving("a"))
    assert (await found.find("a")).name == "a"
    assert (await found.find("a-alias")).name == "a"
    assert [model.name for model in found.models] == ["a"]
    assert found.is_ready


async def test_a_name_beats_another_models_alias() -> None:
    assert (await registry(serving("a", "shared")).find("shared")).name == "shared"


async def test_a_miss_looks_again_but_not_for_every_caller() -> None:
    server = serving("a")
    found = registry(server)
    answers = await asyncio.gather(*(found.find("b") for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, NotFound) for answer in answers)
    assert server.polls == 1
    with pytest.raises(NotFound):
        await found.find("c")
    assert server.polls == 1, "misses within half a second share one look"


async def test_one_caller_that_leaves_does_not_end_the_look_of_others() -> None:
    found = registry(serving("a"))
    leaver, stayer = (asyncio.create_task(found.find("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    assert (await stayer).name == "a"
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_a_model_that_was_there_is_unavailable_not_unknown() -> None:
    server = serving("a", "b")
    found = registry(server)
    await found.members[0].registry.refresh()
    server.served = serving("b").served
    await found.members[0].registry.refresh()
    with pytest.raises(BackendUnavailable):
        await found.find("a")
    with pytest.raises(NotFound):
        await found.find("c")


async def test_while_triton_is_away_nothing_is_ready() -> None:
    server = serving("a")
    found = registry(server)
    await found.members[0].registry.refresh()
    server.served = None
    await found.members[0].registry.refresh()
    assert not found.is_ready
    with pytest.raises(BackendUnavailable):
        await found.find("never-seen")
    with pytest.raises(BackendUnavailable):
        await found.check()
    server.served = serving("a").served
    await found.check()
    assert found.is_ready


async def test_an_upstream_that_is_away_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    server = serving("a")
    server.served = None
    found = registry(server)
    with caplog.at_level("WARNING"):
        for _ in range(3):
            await found.members[0].registry.refresh()
    assert len(caplog.records) == 1


async def test_polling_ends_with_its_block() -> None:
    server = serving("a")
    found = fleet_of(server, interval_s=0.001)
    async with found.polling():
        await server.polled_often.wait()
    assert len(asyncio.all_tasks()) == 1


async def test_one_lost_connection_means_a_poll_and_not_the_wait_for_the_next() -> None:
    server = serving("a")
    fleet = fleet_of(server)
    (one,) = fleet.members
    one.registry.interval_s = 3600.0  # no poll but the one that is asked for
    async with fleet.polling():
        await one.registry.refresh()
        one.failed("a", UpstreamLost("cut"), answered=False)
        assert not one.registry.is_reachable
        # the others of this moment ask for no more
        for _ in range(9):
            one.failed("a", UpstreamLost("cut"), answered=False)
        await server.polled_often.wait()
        assert server.polls == 3
        assert one.broken == {}, "ten requests that were lost together are one failure"


async def test_a_server_that_answers_polls_and_cuts_each_request_is_tried_less() -> None:
    fleet = fleet_of(serving("a"))
    (one,) = fleet.members
    for _ in range(FAILURES):
        await one.registry.refresh()
        one.failed("a", UpstreamLost("cut"), answered=False)
    assert one.is_open("a")
    # a server that is down is not: the next poll says when it is back
    one.succeeded("a")
    one.registry.lost()
    for _ in range(2 * FAILURES):
        one.failed("a", UpstreamLost("away"), answered=False)
    assert not one.is_open("a")


async def test_loading_and_unloading_are_seen_at_once() -> None:
    upstream = serving("a")
    found = registry(upstream)
    await found.members[0].registry.refresh()
    member, name = await found.find_stored(["b", "a-alias"])
    assert name == "a"
    with pytest.raises(NotFound, match="toolkit build-repo"):
        await found.find_stored(["b"])
    await found.unload("a")
    with pytest.raises(BackendUnavailable):
        await found.find("a")
    upstream.served = serving("a").served
    await member.registry.load("a")
    assert (await found.find("a")).name == "a"
    with pytest.raises(BackendFailed):
        await member.registry.load("broken")


async def test_a_pattern_leads_to_its_model_where_no_name_or_alias_does() -> None:
    server = serving("small", "large", "claude-own")
    assert server.served is not None
    small, large, own = server.served
    server.served = [
        replace(small, patterns=("claude-*",)),
        replace(large, patterns=("claude-opus-*", "gpt-*")),
        own,
    ]
    found = registry(server)
    assert (await found.find("claude-haiku:latest")).name == "small"
    assert (await found.find("claude-opus-4")).name == "large"
    assert (await found.find("claude-own")).name == "claude-own"
    assert (await found.find("claude-own:latest")).name == "claude-own"
    assert not any("*" in name for name in found.names)
    with pytest.raises(NotFound):
        await found.find("mistral")
    server.served = [replace(small, patterns=("claude-*",))]
    await found.members[0].registry.refresh()
    with pytest.raises(BackendUnavailable):
        await found.find("gpt-4")
    with pytest.raises(BackendUnavailable):
        await found.find("claude-own")


async def test_patterns_of_the_operator_beat_those_of_models() -> None:
    server = serving("small", "large")
    assert server.served is not None
    small, large = server.served
    server.served = [replace(small, patterns=("gpt-*",)), large]
    found = Fleet(
        [Member("a", server, Registry(server, 60, {"gpt-*": "large", "*": "small-alias"}))]
    )
    assert (await found.find("gpt-4")).name == "large"
    assert (await found.find("anything")).name == "small"
    assert (await found.find("*")).name == "small"
    assert "gpt-*" not in found.names


async def test_polls_of_a_server_that_is_away_become_rarer_and_usual_again_when_it_answers() -> (
    None
):
    server = serving("a")
    polled = Registry(server, 2.0, random=lambda: 0.5)
    await polled.refresh()
    assert polled.pause_s == 2
    server.served, pauses = None, []
    for _ in range(2000):
        await polled.refresh()
        pauses.append(polled.pause_s)
    assert pauses[:5] == [2, 4, 8, 16, 16]
    assert pauses[-1] == 16
    server.served = [MODEL]
    await polled.refresh()
    assert polled.pause_s == 2


def test_gateways_do_not_all_poll_at_the_same_moment() -> None:
    polled = [
        Registry(serving("a"), 60.0, failures=9, random=repeat(n / 4).__next__) for n in range(4)
    ]
    pauses = [one.pause_s for one in polled]
    assert len(set(pauses)) == 4
    assert all(48 <= pause_s <= 72 for pause_s in pauses)
