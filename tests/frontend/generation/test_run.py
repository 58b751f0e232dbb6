"""Nothing ends early in silence, and no slot is lost whatever happens."""

from contextlib import aclosing
from typing import Any, cast

import pytest

from frontend.domain.events import Event
from frontend.domain.generation import Generation, Passage
from frontend.domain.sampling import Sampling
from frontend.domain.structure import Structure, StructureKind
from frontend.errors import (
    BackendFailed,
    BackendUnavailable,
    GatewayError,
    InvalidRequest,
    Overloaded,
)
from frontend.generation.admission import Admission
from frontend.generation.fanout import WIDTH, generate_all
from frontend.generation.run import Runner
from frontend.upstreams.registry import Catalogue
from frontend.upstreams.triton.client import Triton
from tests.support.events import MODEL, ScriptedTriton, event

PROMPT = Generation(Passage("x"))


class Losable:
    """A catalogue that only takes note of a loss."""

    was_lost = False

    def lost(self) -> None:
        self.was_lost = True


def runner(triton: ScriptedTriton, max_running: int = 256) -> Runner:
    admission = Admission(max_running, 4096)
    return Runner(cast(Triton, triton), cast(Catalogue, Losable()), admission, 5)


async def collect(run: Runner, generation: Generation = PROMPT) -> list[Event]:
    return [e async for group in run.generate(MODEL, generation, "id") for e in group]


async def test_events_come_as_they_were_sent() -> None:
    groups = [[event("a"), event("b")], [event("c", finish="stop")]]
    run = runner(ScriptedTriton(groups))
    assert [e.text for e in await collect(run)] == ["a", "b", "c"]
    assert run.admission.idle


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
    run = runner(ScriptedTriton(groups))
    with pytest.raises(BackendFailed) as failure:
        await collect(run, Generation(Passage("x"), Sampling(n=n)))
    assert failure.value.code == "incomplete"
    assert run.admission.idle


@pytest.mark.parametrize("reason", ["error", "abort"])
async def test_a_failed_event_ends_nothing_and_counts_what_was_produced(reason: str) -> None:
    failed = event("secret", finish=reason, completion_tokens=7, tool_calls=[{"index": 0}])
    run = runner(ScriptedTriton([[event("a")], [failed]], BackendFailed("the engine failed")))
    seen: list[Event] = []

    async def read() -> None:
        async for group in run.generate(MODEL, PROMPT, "id"):
            seen.extend(group)

    with pytest.raises(BackendFailed, match="the engine failed"):
        await read()
    assert [(one.text, one.finish_reason, one.completion_tokens) for one in seen] == [
        ("a", None, 1),
        ("", None, 7),
    ]
    assert not seen[-1].tool_calls


async def test_a_failure_before_the_first_token_is_no_event() -> None:
    failed = event(finish="error", completion_tokens=0)
    groups = runner(ScriptedTriton([[failed]])).generate(MODEL, PROMPT, "id")
    with pytest.raises(BackendFailed):
        await anext(groups)


@pytest.mark.parametrize("name", ["grammar", "structural_tag", "regex", "choice"])
async def test_a_constraint_is_taken_where_the_operator_allows_it(name: StructureKind) -> None:
    generation = Generation(Passage("x"), structure=Structure(name, "a", "guided"))
    run = runner(ScriptedTriton([[event("a", finish="stop")]]))
    with pytest.raises(InvalidRequest, match="'constraints'") as caught:
        await collect(run, generation)
    assert caught.value.param == f"structured_outputs.{name}"
    run.constraints = frozenset({name})
    assert await collect(run, generation)


async def test_losing_triton_is_told_to_the_catalogue() -> None:
    run = runner(ScriptedTriton([[event("a")]], BackendUnavailable("gone")))
    with pytest.raises(BackendUnavailable):
        await collect(run)
    assert cast(Losable, run.catalogue).was_lost
    assert run.admission.idle


async def test_stopping_to_read_closes_the_stream_and_frees_the_slot() -> None:
    triton = ScriptedTriton([[event("a")], [event("b", finish="stop")]])
    run = runner(triton)
    async with aclosing(run.generate(MODEL, PROMPT, "id")) as groups:  # type: ignore[type-var]
        assert [e.text for e in await anext(groups)] == ["a"]
        assert run.admission.running == 1
    assert triton.closed == ["id"]
    assert run.admission.idle


async def fan_out(run: Runner, count: int) -> dict[int, str]:
    """The joined text of each prompt."""
    texts: dict[int, str] = {}
    async for number, group in generate_all(run, MODEL, [PROMPT] * count, "id"):
        texts[number] = texts.get(number, "") + "".join(e.text for e in group)
    return texts


async def test_many_prompts_run_side_by_side_within_bounds() -> None:
    triton = ScriptedTriton([[event("a")], [event("b", finish="stop")]])
    run = runner(triton)
    assert await fan_out(run, 3 * WIDTH) == dict.fromkeys(range(3 * WIDTH), "ab")
    assert len(set(triton.started)) == 3 * WIDTH
    assert triton.most_at_once <= WIDTH
    assert run.admission.idle


async def test_many_prompts_wait_for_few_slots() -> None:
    run = runner(ScriptedTriton([[event("a", finish="stop")]]), max_running=2)
    assert len(await fan_out(run, 50)) == 50


@pytest.mark.parametrize("error", [Overloaded("no"), BackendFailed("no")])
async def test_the_first_failure_ends_all(error: GatewayError) -> None:
    triton = ScriptedTriton([[event("a")]], error)
    run = runner(triton)
    with pytest.raises(type(error)):
        await fan_out(run, 5)
    assert sorted(triton.closed) == sorted(triton.started)
    assert run.admission.idle


async def test_an_unforeseen_failure_ends_all_as_well() -> None:
    run = runner(ScriptedTriton([[event("a")]], cast(GatewayError, RuntimeError("bug"))))
    with pytest.raises(RuntimeError, match="bug"):
        await fan_out(run, 5)
    assert run.admission.idle


async def test_an_aborted_answer_is_read_to_its_end_and_the_abort_is_not_told() -> None:
    """To stop reading would cancel the call while its last response is on its way."""
    triton = ScriptedTriton([[event("a"), event(finish="abort")], [event(index=1, finish="stop")]])
    groups = runner(triton).generate(MODEL, Generation(Passage("x"), Sampling(n=2)), "id")
    told = [one.finish_reason for _ in range(2) for one in await anext(groups)]
    assert told == [None, None, "stop"], "the abort only counts what was produced"
    with pytest.raises(BackendFailed):
        await anext(groups)
