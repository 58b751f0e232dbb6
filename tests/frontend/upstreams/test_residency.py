"""Models on demand: one load however many requests wait, and no unload while one runs."""

import asyncio
import math
from dataclasses import replace

import pytest

from frontend.domain.models import Model
from frontend.errors import BackendFailed, BackendUnavailable
from frontend.upstreams import residency, stay
from frontend.upstreams.names import spellings
from frontend.upstreams.registry import Registry
from tests.support.events import MODEL
from tests.support.upstream import ScriptedUpstream

ASLEEP = replace(MODEL, name="asleep", aliases=("sleeper",), patterns=("claude-*",), keep_s=300.0)


class Clock:
    """Stands for `time` in the module."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + 5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (residency, stay):
        monkeypatch.setattr(module, "time", clock)
    return clock


def sleeping(*models: Model, instantly: bool = True) -> ScriptedUpstream:
    upstream = ScriptedUpstream(served=[], asleep=list(models))
    if instantly:
        upstream.may_load.set()
    return upstream


async def registry(upstream: ScriptedUpstream, keep_s: float = math.inf) -> Registry:
    registry = Registry(upstream, interval_s=60, keep_s=keep_s)
    await registry.refresh()
    return registry


def name_of(registry: Registry, name: str) -> str | None:
    match = registry.match(spellings(name))
    return None if match is None else match.model.name


async def unload_idle(registry: Registry) -> None:
    registry.residency.unload_idle(registry.loaded)
    changes = [stay.change for stay in registry.residency._stays.values() if stay.change]
    await asyncio.gather(*changes)


async def test_a_model_that_is_not_loaded_is_served_by_all_its_names() -> None:
    found = await registry(sleeping(ASLEEP))
    assert found.is_ready
    for name in ("asleep", "sleeper:latest", "claude-opus"):
        assert name_of(found, name) == "asleep"
    assert [model.name for model in found.models] == ["asleep"]
    assert found.loaded == []


async def test_many_requests_share_one_load() -> None:
    upstream = sleeping(ASLEEP, instantly=False)
    found = await registry(upstream)

    async def use() -> list[Model]:
        async with found.residency.using(ASLEEP, 5):
            return found.loaded

    tasks = [asyncio.create_task(use()) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()  # its load is the others', too
    upstream.may_load.set()
    answers = await asyncio.gather(*tasks[1:])
    assert answers == [[ASLEEP]] * 9
    assert upstream.loads == ["asleep"]


async def test_an_idle_model_is_unloaded_after_its_last_request(clock: Clock) -> None:
    upstream = sleeping(ASLEEP)
    found = await registry(upstream)
    async with found.residency.using(ASLEEP, 5):
        clock.now += 10_000
        await unload_idle(found)
        assert upstream.unloads == [], "a request runs"
        assert found.residency.expires_s(ASLEEP) is None
    assert found.residency.expires_s(ASLEEP) == clock.time() + 300
    clock.now += 299
    await unload_idle(found)
    assert upstream.unloads == []
    clock.now += 1
    await unload_idle(found)
    assert upstream.unloads == ["asleep"]
    assert (found.loaded, name_of(found, "asleep")) == ([], "asleep")
    async with found.residency.using(ASLEEP, 5):
        assert found.loaded == [ASLEEP]


async def test_a_request_during_an_unload_waits_and_loads_again(clock: Clock) -> None:
    upstream = sleeping(ASLEEP)
    found = await registry(upstream)
    async with found.residency.using(ASLEEP, 5):
        pass
    clock.now += 300
    found.residency.unload_idle(found.loaded)
    async with found.residency.using(ASLEEP, 5):
        assert found.loaded == [ASLEEP]
    assert (upstream.unloads, upstream.loads) == (["asleep"], ["asleep"] * 2)


async def test_a_load_is_waited_for_no_longer_than_the_request_may_take() -> None:
    upstream = sleeping(ASLEEP, instantly=False)
    found = await registry(upstream)
    with pytest.raises(BackendUnavailable, match="is being loaded"):
        async with found.residency.using(ASLEEP, 0.01):
            raise AssertionError
    upstream.may_load.set()
    async with found.residency.using(ASLEEP, 5):
        assert upstream.loads == ["asleep"], "the first load went on"


async def test_a_broken_model_is_not_loaded_for_every_request(clock: Clock) -> None:
    broken = replace(ASLEEP, name="broken")
    upstream = sleeping(broken)
    found = await registry(upstream)
    for _ in range(3):
        with pytest.raises(BackendFailed):
            async with found.residency.using(broken, 5):
                raise AssertionError
    assert upstream.loads == ["broken"]
    clock.now += 11
    with pytest.raises(BackendFailed):
        async with found.residency.using(broken, 5):
            raise AssertionError
    assert upstream.loads == ["broken"] * 2


async def test_keep_alive_of_a_request_lasts_until_the_unload(clock: Clock) -> None:
    upstream = sleeping(ASLEEP)
    found = await registry(upstream)
    assert found.residency.keep(ASLEEP, 10)
    async with found.residency.using(ASLEEP, 5):
        found.residency.keep(ASLEEP, 10)
    clock.now += 10
    await unload_idle(found)
    assert upstream.unloads == ["asleep"]
    async with found.residency.using(ASLEEP, 5):
        pass
    assert found.residency.expires_s(ASLEEP) == clock.time() + 300
    assert found.residency.keep(ASLEEP, math.inf)
    assert found.residency.expires_s(ASLEEP) is None


async def test_other_models_are_always_loaded_unless_the_default_says_otherwise(
    clock: Clock,
) -> None:
    upstream = ScriptedUpstream(asleep=[MODEL])
    found = await registry(upstream)
    async with found.residency.using(MODEL, 5):
        pass
    assert not found.residency.keep(MODEL, 5)
    clock.now += 1e9
    await unload_idle(found)
    assert upstream.unloads == []
    upstream.may_load.set()
    found = await registry(upstream, keep_s=60)
    await unload_idle(found)
    clock.now += 60
    await unload_idle(found)
    assert upstream.unloads == [MODEL.name]
    assert name_of(found, MODEL.name) == MODEL.name
    async with found.residency.using(MODEL, 5):
        assert found.loaded == [MODEL]
