"""Calls are handed out whole or not at all, however they were cut into deltas."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.calls import join_calls
from frontend.domain.events import Event
from frontend.generation.calls import CallBuffer
from tests.support.events import event

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def deltas(calls: list[tuple[str, str]], cuts: int = 1) -> list[dict[str, Any]]:
    """Each call in `cuts` + 1 deltas."""
    found: list[dict[str, Any]] = []
    for number, (name, arguments) in enumerate(calls):
        edges = [round(len(arguments) * i / (cuts + 1)) for i in range(cuts + 2)]
        pieces = [arguments[start:end] for start, end in itertools.pairwise(edges)]
        found.append({"index": number, "id": f"c{number}", "name": name, "arguments": pieces[0]})
        found += [{"index": number, "arguments": piece} for piece in pieces[1:]]
    return found


def passed(calls: list[dict[str, Any]], *, as_said: bool = False, **end: Any) -> list[Event]:
    buffer = CallBuffer(as_said=as_said)
    events = [event(tool_calls=[one]) for one in calls] + [event(**end)]
    return [buffer.complete(one) for one in events]


def handed_out(events: list[Event]) -> list[dict[str, Any]]:
    return [call for one in events for call in one.tool_calls or ()]


@given(st.lists(st.dictionaries(st.text(max_size=4), VALUES), min_size=1, max_size=3), st.data())
def test_whole_calls_arrive_as_they_were_written(values: list[Any], data: st.DataObject) -> None:
    calls = [(f"f{number}", json.dumps(value)) for number, value in enumerate(values)]
    sent = deltas(calls, data.draw(st.integers(0, 9)))
    events = passed(sent, finish="tool_calls")
    found = handed_out(events)
    assert [(call["name"], json.loads(call["arguments"])) for call in found] == [
        (f"f{number}", value) for number, value in enumerate(values)
    ]
    assert [call["index"] for call in found] == list(range(len(values)))
    assert events[-1].finish_reason == "tool_calls"
    assert not events[-1].partial_call


@given(st.dictionaries(st.text(max_size=4), VALUES, min_size=1), st.data())
def test_a_cut_call_is_text_wherever_it_was_cut(value: Any, data: st.DataObject) -> None:
    written = json.dumps(value)
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    events = passed(deltas([("f", cut)]), finish="length")
    assert handed_out(events) == []
    assert "".join(one.text for one in events) == cut
    assert (events[-1].finish_reason, events[-1].partial_call) == ("length", True)


@pytest.mark.parametrize("written", ['{"city": "', "{city: 1}", "[1]", "1", '{"a": 1}}', "nope"])
def test_what_is_not_an_object_is_never_a_call(written: str) -> None:
    events = passed(deltas([("f", written)], cuts=0), finish="tool_calls")
    assert handed_out(events) == []
    assert (events[-1].text, events[-1].finish_reason) == (written, "stop")


@pytest.mark.parametrize("cuts", [0, 1, 3])
@pytest.mark.parametrize(
    "written", ['{"city": "', "{city: 1}", "[1]", "1", '{"a": 1}}', '{"a": 1} {"b": 2}', "nope"]
)
def test_what_a_server_says_is_a_call_stays_one(written: str, cuts: int) -> None:
    sent = deltas([("f", written), ("g", "{}"), ("f", written)], cuts)
    events = passed(sent, as_said=True, finish="tool_calls")
    found = join_calls(handed_out(events))
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in found] == [
        ("f", written), ("g", "{}"), ("f", written)
    ]  # fmt: skip
    assert "".join(one.text for one in events) == ""
    assert (events[-1].finish_reason, events[-1].partial_call) == ("tool_calls", False)


@pytest.mark.parametrize("end", [{"finish": "length"}, {"finish": "stop", "stop_reason": "x"}])
def test_what_a_server_cut_is_text(end: dict[str, Any]) -> None:
    events = passed(deltas([("f", '{"x": [1')]), as_said=True, **end)
    assert handed_out(events) == []
    assert "".join(one.text for one in events) == '{"x": [1'


def test_calls_before_a_cut_one_are_handed_out() -> None:
    sent = deltas([("a", "{}"), ("b", '{"x": ['), ("c", '{"y": 1}')])
    events = passed(sent, finish="tool_calls")
    assert [(c["index"], c["name"]) for c in handed_out(events)] == [(0, "a"), (1, "c")]
    assert (events[-1].text, events[-1].finish_reason) == ('{"x": [', "tool_calls")


@pytest.mark.parametrize(
    ("end", "calls"),
    [
        ({"finish": "tool_calls"}, 1),
        ({"finish": "stop", "stop_reason": 7}, 1),
        ({"finish": "stop", "stop_reason": "Paris"}, 0),
        ({"finish": "length"}, 0),
    ],
)
def test_a_call_without_arguments_has_none_unless_it_was_cut(end: Any, calls: int) -> None:
    events = passed(deltas([("now", "")], cuts=0), **end)
    assert [call["arguments"] for call in handed_out(events)] == ["{}"] * calls
    assert events[-1].partial_call is not bool(calls)


def test_completions_are_told_apart() -> None:
    buffer = CallBuffer()
    first, second = deltas([("a", '{"x": 1}')])
    buffer.complete(event(index=0, tool_calls=[first]))
    buffer.complete(event(index=1, tool_calls=[dict(first)]))
    assert buffer.complete(event(index=0, finish="length")).tool_calls is None
    assert buffer.complete(event(index=1, tool_calls=[second], finish="length")).tool_calls


@pytest.mark.parametrize("sent", [[], deltas([("f", '{"x": "')])])
def test_a_cut_call_is_told_as_the_model_wrote_it(sent: list[dict[str, Any]]) -> None:
    written = '[{"name": "f", "parameters": {"x": "'
    events = passed(sent, finish="length", unread=written)
    assert handed_out(events) == []
    assert "".join(one.text for one in events) == written
    assert events[-1].partial_call


def test_the_marks_around_whole_calls_are_not_told() -> None:
    events = passed(deltas([("f", "{}")]), finish="tool_calls", unread="<tool_call>{}</tool_call>")
    assert [one.text for one in events] == [""] * len(events)
    assert not events[-1].partial_call
