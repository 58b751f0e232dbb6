"""Room for a model on demand: who goes, who stays, and what a request that waits gets."""

import asyncio
import math
from dataclasses import replace

import pytest

from frontend.domain.models import Details, Model, Version
from frontend.domain.room import RoomLimits
from frontend.errors import BackendUnavailable
from frontend.upstreams.registry import Registry
from frontend.upstreams.room import Resident, can_fit, choose, last_use
from tests.support.events import MODEL
from tests.support.upstream import ScriptedUpstream

LIMITS = RoomLimits(max_bytes=100, min_stay_s=10)


def resident(name: str, size: int = 40, **fields: object) -> Resident:
    plain = Resident(name, size, on_demand=True, is_idle=True, age_s=1e9, used_s_ago=1000)
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_the_least_recently_used_goes_first_and_no_more_than_needed() -> None:
    residents = [resident("new", used_s_ago=5), resident("old", used_s_ago=50)]
    assert choose(residents, 40, LIMITS) == ["old"]
    assert choose(residents, 100, LIMITS) == ["old", "new"]
    assert choose(residents, 101, LIMITS) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"is_idle": False},
        {"age_s": 9.0},
        {"used_by_others_s_ago": 5.0, "age_s": 59.0},
    ],
)
def test_a_model_stays_that_is_in_use_or_was_just_loaded(fields: dict[str, object]) -> None:
    """And nothing is unloaded in vain while what may go is not enough."""
    assert choose([resident("one", 90, **fields)], 40, LIMITS) == []
    assert choose([resident("one", 60, **fields), resident("two", 40)], 60, LIMITS) == []


def test_other_gateways_keep_a_model_for_a_while_and_not_for_ever() -> None:
    used = resident("one", 90, used_by_others_s_ago=1.0, age_s=61.0)
    assert choose([used], 40, LIMITS) == ["one"]
    # what Triton counted were this gateway's own requests
    own = resident("one", 90, used_by_others_s_ago=3.0, used_s_ago=3.0, age_s=11.0)
    assert choose([own], 40, LIMITS) == ["one"]


def test_a_number_of_models_is_a_limit_as_well() -> None:
    limits = RoomLimits(max_models=2)
    residents = [resident("one", 0, used_s_ago=1), resident("two", 0, used_s_ago=2)]
    assert choose(residents, 0, limits) == ["two"]
    fixed = [replace(one, on_demand=False) for one in residents]
    assert not can_fit(fixed, 0, limits)


def test_the_last_use_is_that_of_any_step() -> None:
    stored = {
        "chat": [Version("1", "loaded", 5.0)],
        "chat.engine": [Version("1", "loaded", 9.0)],
        "chatter": [Version("1", "loaded", 99.0)],
    }
    assert last_use("chat", stored) == 9.0
    assert last_use("absent", stored) == 0.0


def sized(name: str, size: int, keep_s: float = 300.0) -> Model:
    return replace(MODEL, name=name, aliases=(), keep_s=keep_s, details=Details(size_bytes=size))


A, B, C = sized("a", 40), sized("b", 50), sized("c", 60)
FIXED = sized("fixed", 30, math.inf)


async def full(*models: Model, **limits: float) -> tuple[Registry, ScriptedUpstream]:
    """A registry whose upstream has room for 100 bytes of models; they are not loaded yet."""
    upstream = ScriptedUpstream(served=[], asleep=list(models))
    upstream.may_load.set()
    room = RoomLimits(**{"max_bytes": 100, "min_stay_s": 0, **limits})
    registry = Registry(upstream, interval_s=60, limits=room)
    await registry.refresh()
    return registry, upstream


async def use(registry: Registry, model: Model, timeout_s: float = 5) -> None:
    async with registry.residency.using(model, timeout_s):
        assert registry.is_loaded(model.name)


async def test_a_request_unloads_what_was_not_used_for_the_longest_time() -> None:
    registry, upstream = await full(A, B, C)
    for model in (A, B, A, C):
        await use(registry, model)
    assert (upstream.loads, upstream.unloads) == (["a", "b", "c"], ["b"])
    assert [one.name for one in registry.loaded] == ["a", "c"]


async def test_a_model_with_requests_is_never_unloaded_and_its_end_makes_room() -> None:
    registry, upstream = await full(B, C)
    async with registry.residency.using(B, 5):
        waiting = [asyncio.create_task(use(registry, C)) for _ in range(3)]
        for _ in range(3):
            await registry.refresh()
        assert registry.residency.state("c") == "loading"
        assert (upstream.unloads, [one.name for one in registry.loaded]) == ([], ["b"])
    await asyncio.gather(*waiting)
    assert (upstream.unloads, upstream.loads) == (["b"], ["b", "c"]), "one load for three requests"


async def test_a_wait_for_room_is_bounded() -> None:
    registry, upstream = await full(B, C, wait_s=0.01)
    async with registry.residency.using(B, 5):
        with pytest.raises(BackendUnavailable, match="no room for the model 'c' now"):
            await use(registry, C)
    await use(registry, C)  # the refusal is not remembered as a failure of the model
    assert upstream.loads == ["b", "c"]


async def test_what_can_never_fit_is_refused_at_once_with_the_numbers() -> None:
    registry, upstream = await full(FIXED, sized("huge", 71))
    await registry.load("fixed")
    with pytest.raises(BackendUnavailable, match=r"'huge' cannot be loaded: .*max_loaded_gb"):
        await use(registry, sized("huge", 71))
    assert upstream.unloads == []


async def test_two_loads_take_turns() -> None:
    registry, upstream = await full(B, C)
    await asyncio.gather(*(use(registry, model) for model in (B, C)))
    assert (upstream.loads, upstream.unloads) == (["b", "c"], ["b"])
