"""What servers say about their load: what of it counts, how old it may be, and what it decides."""

import logging
import math
import time
from typing import Any

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from frontend.address import parse_server
from frontend.domain.generation import Generation, Passage
from frontend.errors import BackendTimeout, UpstreamLost
from frontend.generation.path import Path
from frontend.scheduling.policy import FairShare
from frontend.scheduling.queue import Queue
from frontend.upstreams.member import ALARM_S, Member, Placing
from frontend.upstreams.need import Need
from frontend.upstreams.openai.client import OpenAi
from frontend.upstreams.placement import Places
from frontend.upstreams.prefixes import Prefixes
from frontend.upstreams.protocol import Figures
from frontend.upstreams.registry import Registry
from frontend.upstreams.triton.load import Load
from frontend.upstreams.triton.models import slots_of
from frontend.upstreams.web import Web
from tests.support.events import MODEL, event, no_images, structures
from tests.support.upstream import ScriptedUpstream, fleet_of, request
from tests.support.web import web_server

WHOLE = [[event("a", finish="stop")]]


def member(upstream: ScriptedUpstream, most: int | None = None) -> Member:
    return Member("a", upstream, Registry(upstream, 2.0), Placing(max_running=most))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_figures_that_cannot_be_true_are_as_if_not_said(value: float) -> None:
    figures = Figures(value, value, value, value)  # type: ignore[arg-type]
    assert figures == Figures()
    assert Figures(utilization=1.5) == Figures()


async def test_a_server_that_says_it_is_idle_is_not_believed_against_what_runs_there() -> None:
    liar = ScriptedUpstream(WHOLE, figures=Figures(running=0, waiting=0, utilization=0, slots=10))
    one = member(liar)
    one.running = 8
    assert (one.queue, one.utilization) == (8.0, 0.8)
    liar.figures = Figures(running=8, waiting=3, utilization=0.9)
    assert (one.queue, one.utilization) == (3.0, 0.9)


@pytest.mark.parametrize("figures", [Figures(math.nan, math.nan, math.nan), Figures(0, 0, 0)])
async def test_a_lying_server_does_not_get_everything(figures: Figures) -> None:
    liar, honest = ScriptedUpstream(WHOLE, figures=figures), ScriptedUpstream(WHOLE)
    honest.figures = Figures(running=0, waiting=0, utilization=0)
    fleet = fleet_of(liar, honest)
    await fleet.find("m")
    places = Places(fleet)
    need, counts = Need(), {"a": 0, "b": 0}
    for number in range(40):
        held = await places._take(MODEL, need, set(), str(number), 1)
        counts[held.name] += 1
    assert counts["a"] <= 25


async def test_no_more_run_than_the_engine_says_that_it_runs() -> None:
    told = ScriptedUpstream(figures=Figures(slots=4))
    assert (member(told, 8).most, member(told, 2).most, member(told).most) == (4, 2, None)
    one = member(told, 8)
    one.running = 4
    assert one.room == 0


def test_waiting_requests_come_from_the_sum_of_their_waits() -> None:
    now_s = [100.0]
    load = Load(lambda: now_s[0])
    assert load.waiting(5_000_000_000) is None
    now_s[0] += 2
    assert load.waiting(11_000_000_000) == 3.0
    now_s[0] += 2
    assert load.waiting(1) is None, "the server began again"
    now_s[0] += 2
    assert load.waiting(None) is None
    assert load.waiting(7) is None


def config(**parameters: str) -> ModelConfig:
    made = ModelConfig(name="m")
    for key, value in parameters.items():
        made.parameters[key.replace("__", ".")].string_value = value
    return made


def test_slots_are_those_of_the_smallest_engine() -> None:
    large = config(toolkit__target="x", engine='{"max_num_seqs": 64}')
    cpu = config(toolkit__target="x", engine='{"a": 1}', engine_cpu='{"max_num_seqs": 16}')
    other = config(engine='{"max_num_seqs": 1}')
    broken = config(toolkit__target="x", engine="[")
    assert slots_of([large, cpu, other, broken, config()]) == 16
    assert slots_of([config()]) is None


@pytest.mark.parametrize(
    ("engine", "path", "says", "slots"),
    [
        (
            "vllm",
            "/server_info",
            b'{"vllm_config": {"scheduler_config": {"max_num_seqs": 256}}}',
            256,
        ),
        ("llama.cpp", "/props", b'{"total_slots": 4}', 4),
        ("tgi", "/info", b'{"max_concurrent_requests": 128}', 128),
        ("vllm", "/server_info", b'{"vllm_config": "text"}', None),
        ("llama.cpp", "/props", b'{"total_slots": true}', None),
        ("tgi", "/other", b"{}", None),
        ("openai", "/props", b'{"total_slots": 4}', None),
    ],
)
async def test_servers_are_asked_for_their_slots_once(
    engine: str, path: str, says: bytes, slots: int | None
) -> None:
    with web_server() as web:
        web.files |= {path: says, "/v1/models": b'{"data": [{"id": "m"}]}'}
        one = OpenAi(Web(parse_server(web.url), {}, lambda _: True), engine)
        for _ in range(2):
            await one.models()
        await one.close()
        assert one.figures is not None
        assert one.figures.slots == slots
        assert len([asked for asked, _ in web.requests if asked.startswith(path)]) <= 1


async def test_old_figures_are_an_alarm_once(caplog: pytest.LogCaptureFixture) -> None:
    one = member(ScriptedUpstream())
    one.check_age()
    assert not caplog.records, "one that never answered has another warning"
    await one.registry.refresh()
    one.registry._answered_at_s = time.monotonic() - ALARM_S - 5
    for _ in range(3):
        one.check_age()
    (alarm,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "the figures of the upstream a are 35 s old" in alarm.message
    assert one.is_stale
    await one.registry.refresh()
    one.check_age()
    assert "current again" in caplog.records[-1].message


class Busy(ScriptedUpstream):
    """A server whose polls time out while requests work."""

    is_slow = False

    async def models(self) -> Any:
        if self.is_slow:
            raise BackendTimeout("too slow")
        return await super().models()


async def test_a_server_that_is_too_busy_for_polls_still_gets_requests() -> None:
    busy = Busy(WHOLE)
    fleet = fleet_of(busy)
    path = Path(fleet, Queue(FairShare(64)), structures(), no_images())

    async def ask() -> list[str]:
        async with path.open(request(), "m") as run:
            return [
                e.text for g in [g async for g in run.generate(Generation(Passage("x")))] for e in g
            ]

    assert await ask() == ["a"]
    busy.is_slow = True
    registry = fleet.members[0].registry
    await registry.refresh()
    assert registry.is_reachable
    assert await ask() == ["a"]
    # without an answer for a while, it is gone
    registry._worked_at_s = time.monotonic() - 60
    await registry.refresh()
    assert not registry.is_reachable


async def test_a_silent_server_gets_requests_only_where_no_other_one_can_have_them() -> None:
    silent, works = Busy(WHOLE), ScriptedUpstream(WHOLE)
    fleet = fleet_of(silent, works)
    await fleet.find("m")
    first, other = fleet.members
    first.succeeded("m")
    silent.is_slow = True
    await first.registry.refresh()
    places = Places(fleet)
    for number in range(10):
        async with places.hold(MODEL, Need(), set(), str(number), 1) as held:
            assert held is other
    other.draining = True
    async with places.hold(MODEL, Need(), set(), "last", 1) as held:
        assert held is first


async def test_a_server_that_refuses_connections_is_gone_at_once() -> None:
    lost = ScriptedUpstream(WHOLE, UpstreamLost("gone"))
    one = member(lost)
    await one.registry.refresh()
    one.succeeded("m")
    lost.served = None
    await one.registry.refresh()
    assert not one.registry.is_reachable


async def test_requests_of_a_session_stay_at_one_upstream() -> None:
    fleet = fleet_of(ScriptedUpstream(WHOLE), ScriptedUpstream(WHOLE))
    await fleet.find("m")
    places = Places(fleet)
    homes: dict[str, set[str]] = {}
    for number in range(60):
        session = f"ada/{number % 6}"
        async with places.hold(MODEL, Need(session=session), set(), str(number), 1) as held:
            homes.setdefault(session, set()).add(held.name)
    assert all(len(names) == 1 for names in homes.values())
    # one that is full does not hold its sessions
    (home,) = homes["ada/0"]
    first = fleet.member(home)
    assert first is not None
    first.placing = Placing(max_running=1)
    async with (
        places.hold(MODEL, Need(session="ada/0"), set(), "x", 1) as one,
        places.hold(MODEL, Need(session="ada/0"), set(), "y", 1) as two,
    ):
        assert {one.name, two.name} == {"a", "b"}


def test_sessions_are_forgotten_in_the_end() -> None:
    prefixes = Prefixes()
    for number in range(20_000):
        prefixes.add_session(str(number))
    assert prefixes.session_share("0") == 0.0
    assert prefixes.session_share("19999") > 0.0
    assert prefixes.session_share("") == 0.0
