"""Schemas of requests planned, and answers held to them: failed, warned of, or generated again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from frontend.domain.events import Event, Events
from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Message
from frontend.domain.sampling import Sampling
from frontend.domain.structure import SchemaUse, Structure
from frontend.domain.tools import Function, Tools
from frontend.errors import BackendFailed, InvalidRequest
from frontend.generation.structure import Structures
from frontend.schemas.check import find_errors
from frontend.schemas.limits import Limits
from frontend.workers import Result, Workers, WorkerTimeout
from tests.support.events import InlineWorkers, event, structures

INTEGER = {"type": "object", "properties": {"a": {"type": "integer", "multipleOf": 2}}}
ANSWER = SchemaUse("response_format", INTEGER)
MESSAGES = (Message("user", "hi"),)


def generation(*uses: SchemaUse, n: int = 1) -> Generation:
    functions = tuple(Function(use.tool, use.schema) for use in uses if use.tool)
    answer = next((use for use in uses if use.tool is None), None)
    return Generation(
        Conversation(MESSAGES),
        Sampling(n=n),
        tools=Tools(functions, functions) if functions else None,
        structure=None if answer is None else Structure("json", INTEGER, answer.path),
        schemas=uses,
    )


class Engine:
    """Gives one scripted reply after the other, and keeps what it was asked."""

    def __init__(self, *replies: list[Event]) -> None:
        self._replies = iter(replies)
        self.asked: list[tuple[Generation, str]] = []

    async def run(self, asked: Generation, engine_id: str) -> Events:
        self.asked.append((asked, engine_id))
        yield next(self._replies)


def said(text: str, index: int = 0, finish: str = "stop") -> list[Event]:
    return [event(text, index), event("", index, finish)]


def called(name: str, arguments: str) -> list[Event]:
    call = {"index": 0, "id": "c", "name": name, "arguments": arguments}
    return [event(tool_calls=[call]), event(finish="tool_calls")]


async def hold(
    held_by: Structures, asked: Generation, engine: Engine, *, whole: bool = True
) -> tuple[list[Event], list[str], BackendFailed | None]:
    """What comes of a request: its events, its warnings, its failure."""
    warnings: list[str] = []
    ready = await held_by.prepare(asked, "ada", warnings, whole=whole)
    events: list[Event] = []
    try:
        async for group in held_by.checked(engine.run, ready, "id"):
            events += group
    except BackendFailed as error:
        return events, warnings, error
    return events, warnings, None


async def test_the_engine_gets_what_its_grammar_can_hold_and_the_template_all() -> None:
    asked = generation(ANSWER, SchemaUse("tools[0]", INTEGER, "f", strict=False))
    ready = await structures().prepare(asked, "ada", [], whole=True)
    bare = {"type": "object", "properties": {"a": {"type": "integer"}}}
    bare |= {"additionalProperties": False}
    assert ready.structure is not None
    assert ready.structure.value == bare
    assert ready.tools is not None
    assert asked.tools is not None
    assert ready.tools.allowed[0].parameters == bare
    assert ready.tools.declared == asked.tools.declared
    assert ready.prompt == asked.prompt
    assert ready.schemas == ()


async def test_the_same_schema_of_two_requests_is_counted_once() -> None:
    held_by = structures()
    await asyncio.gather(
        *(held_by.prepare(generation(ANSWER), caller, [], whole=True) for caller in ("ada", "bob"))
    )
    assert len(held_by._plans) == 1
    assert held_by._kept_bytes == sum(plan.size_bytes for plan in held_by._plans.values())


async def test_what_is_checked_at_the_end_only_is_told_before() -> None:
    events, warnings, failure = await hold(
        structures(), generation(ANSWER), Engine(said('{"a":2}'))
    )
    assert failure is None
    assert events[-1].finish_reason == "stop"
    (warning,) = warnings
    assert warning == (
        "checked in the finished answer only: response_format.properties.a.multipleOf"
    )


async def test_a_wrong_answer_fails_in_place_of_its_end() -> None:
    events, _, failure = await hold(structures(), generation(ANSWER), Engine(said('{"a":3}')))
    assert failure is not None
    assert (failure.status, failure.code) == (502, "invalid_structured_output")
    assert failure.param == "response_format"
    assert "response_format" in failure.message
    assert "'/a'" in failure.message
    assert "".join(one.text for one in events) == '{"a":3}'
    assert [one.finish_reason for one in events] == [None, None]


@pytest.mark.parametrize("finish", ["length", "abort"])
async def test_an_answer_that_was_cut_is_not_checked(finish: str) -> None:
    engine = Engine(said('{"a":', finish=finish))
    assert (await hold(structures(), generation(ANSWER), engine))[2] is None


async def test_each_completion_is_checked() -> None:
    engine = Engine([*said('{"a":2}', 0), *said('{"a":1}', 1)])
    assert (await hold(structures(), generation(ANSWER, n=2), engine))[2] is not None


async def test_calls_are_checked_and_then_the_text_is_not() -> None:
    strict = SchemaUse("tools[0].function.parameters", INTEGER, "f")
    asked = generation(ANSWER, strict)
    assert (await hold(structures(), asked, Engine(called("f", '{"a":2}'))))[2] is None
    _, _, failure = await hold(structures(), asked, Engine(called("f", '{"a":1}')))
    assert failure is not None
    assert failure.param == "tools[0].function.parameters"
    assert "arguments for 'f'" in failure.message
    assert (await hold(structures(), asked, Engine(called("g", '{"a":1}'))))[2] is None


async def test_wrong_arguments_of_a_tool_that_is_not_strict_are_a_warning() -> None:
    loose = SchemaUse("tools[0]", INTEGER, "f", strict=False, enforced=False)
    events, warnings, failure = await hold(
        structures(), generation(loose), Engine(called("f", '{"a":1}'))
    )
    assert failure is None
    assert events[-1].finish_reason == "tool_calls"
    (warning,) = warnings
    assert "arguments for 'f' do not match 'tools[0]'" in warning


async def test_a_tool_that_is_not_strict_is_not_refused_for_a_keyword() -> None:
    odd = {"type": "object", "properties": {"a": {"pattern": "(", "not": {}}}}
    loose = SchemaUse("tools[0]", odd, "f", strict=False, enforced=False)
    _, warnings, failure = await hold(structures(), generation(loose), Engine(called("f", "{}")))
    assert failure is None
    assert warnings == ["ignored, because it cannot be checked: tools[0].properties.a.pattern"]
    strict = SchemaUse("tools[0]", odd, "f")
    with pytest.raises(InvalidRequest) as refused:
        await structures().prepare(generation(strict), "ada", [], whole=True)
    assert refused.value.param == "tools[0].properties.a.pattern"


async def test_an_answer_is_generated_again_as_often_as_the_operator_allows() -> None:
    engine = Engine(said('{"a":1}'), said('{"a":3}'), said('{"a":4}'), said('{"a":6}'))
    events, _, failure = await hold(structures(retries=2), generation(ANSWER), engine)
    assert failure is None
    assert "".join(one.text for one in events) == '{"a":4}'
    assert [engine_id for _, engine_id in engine.asked] == ["id", "id-again1", "id-again2"]
    talk = engine.asked[1][0].prompt
    assert isinstance(talk, Conversation)
    assert talk.messages[:2] == (*MESSAGES, Message("assistant", '{"a":1}'))
    assert "'/a'" in str(talk.messages[2].content)


async def test_after_the_last_try_the_request_fails() -> None:
    engine = Engine(said('{"a":1}'), said('{"a":3}'))
    _, _, failure = await hold(structures(retries=1), generation(ANSWER), engine)
    assert failure is not None


@pytest.mark.parametrize(("whole", "n"), [(False, 1), (True, 2)])
async def test_what_cannot_be_taken_back_is_generated_once(whole: bool, n: int) -> None:
    engine = Engine(said('{"a":1}'), said('{"a":2}'))
    asked = generation(ANSWER, n=n)
    assert (await hold(structures(retries=3), asked, engine, whole=whole))[2] is not None
    assert len(engine.asked) == 1


class SlowWorkers(InlineWorkers):
    """Never in time for one of the functions."""

    def __init__(self, slow: Callable[..., Any]) -> None:
        super().__init__()
        self._slow = slow

    async def call(
        self, function: Callable[..., Result], *arguments: object, caller: str
    ) -> Result:
        if function is self._slow:
            raise WorkerTimeout("not done after 5 s")
        return await super().call(function, *arguments, caller=caller)


async def test_a_check_that_takes_too_long_fails_strict_answers_alone() -> None:
    slow = structures(SlowWorkers(find_errors))
    _, _, failure = await hold(slow, generation(ANSWER), Engine(said('{"a":2}')))
    assert failure is not None
    assert "not done after 5 s" in failure.message
    loose = SchemaUse("tools[0]", INTEGER, "f", strict=False)
    _, warnings, failure = await hold(slow, generation(loose), Engine(called("f", "{}")))
    assert failure is None
    assert "not done after 5 s" in warnings[-1]


async def test_the_same_schemas_are_planned_once_and_for_their_caller() -> None:
    workers = InlineWorkers()
    planning = Structures(workers, Limits(), 0)
    for _ in range(3):
        await planning.prepare(generation(ANSWER, ANSWER), "ada", [], whole=True)
    assert workers.callers == ["ada"]
    other = SchemaUse("format", INTEGER)
    await planning.prepare(generation(other), "bob", [], whole=True)
    assert workers.callers == ["ada", "bob"]


async def test_sizes_are_refused_before_any_work() -> None:
    workers = InlineWorkers()
    small = Structures(workers, Limits(size_bytes=100, total_bytes=150), 0)
    for schema, uses in (({"description": "x" * 200}, 1), ({"description": "x" * 50}, 3)):
        asked = [SchemaUse(f"tools[{n}]", schema, f"f{n}") for n in range(uses)]
        with pytest.raises(InvalidRequest) as refused:
            await small.prepare(generation(*asked), "ada", [], whole=True)
        assert refused.value.param == f"tools[{uses - 1}]"
    assert workers.callers == []


async def test_a_check_without_an_end_ends_with_its_process() -> None:
    """A recursive schema whose cost depends on how deep the answer is."""
    node = {"properties": {"a": {"oneOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}}}
    use = SchemaUse("format", {"$ref": "#/$defs/n", "$defs": {"n": node}})
    deep = '{"a":' * 60 + "{}" + "}" * 60
    workers = Workers(1, 3, 2**30)
    try:
        held = Structures(workers, Limits(), 0)
        _, _, failure = await hold(held, generation(use), Engine(said(deep)))
        assert failure is not None
        assert "could not be checked" in failure.message
        assert (await hold(held, generation(use), Engine(said('{"a":1}'))))[2] is not None
    finally:
        await workers.close()
