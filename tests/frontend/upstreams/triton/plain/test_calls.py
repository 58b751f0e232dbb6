"""Tool calls that the gateway reads by itself."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.domain.events import Event
from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Message, ToolCall
from frontend.domain.structure import Structure
from frontend.domain.tools import Function, Named, Tools
from frontend.errors import InvalidRequest
from frontend.upstreams.triton.plain.calls import CallReading, force_calls
from frontend.upstreams.triton.plain.templates import FORMATS, ChatTemplate

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER, TIME = Function("weather", CITY), Function("time", {})
TOOLS = Tools((WEATHER, TIME), (WEATHER, TIME))
HERMES = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
OSLO = ("weather", '{"city":"Oslo"}')


def read(pieces: list[str], tools: Tools = TOOLS, reason: str = "stop") -> list[Event]:
    reading = CallReading(tools)
    return [
        reading.read(Event(0, one, [], reason if n + 1 == len(pieces) else None, None, 1, 0, n + 1))
        for n, one in enumerate(pieces)
    ]


def outcome(events: list[Event]) -> tuple[str, list[tuple[str, str]], str | None]:
    calls = [one for event in events for one in event.tool_calls or ()]
    text = "".join(one.text for one in events)
    return text, [(one["name"], one["arguments"]) for one in calls], events[-1].finish_reason


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        (HERMES, "", [OSLO]),
        (f"I look.\n{HERMES}\n{HERMES}", "I look.\n", [OSLO, OSLO]),
        ('{"name": "weather", "parameters": {"city": "Oslo"}}', "", [OSLO]),
        ('[{"name": "time"}, {"name": "weather", "arguments": {"city": "Oslo"}}]', "",
         [("time", "{}"), OSLO]),
        ('{"city": "Oslo"}', '{"city": "Oslo"}', []),
        ('{"name": "other", "arguments": {}}', '{"name": "other", "arguments": {}}', []),
        ("a < b and <tool> is text", "a < b and <tool> is text", []),
        ("", "", []),
    ],
)  # fmt: skip
def test_calls_are_read_and_all_else_is_text(
    text: str, said: str, calls: list[tuple[str, str]]
) -> None:
    expected = (said, calls, "tool_calls" if calls else "stop")
    assert outcome(read([text])) == expected
    assert outcome(read([*text, ""])) == expected


@given(st.data())
def test_no_cut_of_the_pieces_changes_what_is_read(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([f"Well. {HERMES}", HERMES, '{"a": 1}', "<tool", "a<tool_ b"]))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    bounds = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(bounds)]
    assert outcome(read(pieces)) == outcome(read([text]))


def test_text_is_sent_as_it_comes_until_it_may_be_a_call() -> None:
    events = read(["So", " far ", "<tool", "_call>", "x"])
    assert [one.text for one in events] == ["So", " far ", "", "", ""]
    # nothing of a call that cannot be read gets lost
    assert events[-1].unread == "<tool_call>x"


def test_a_call_that_was_cut_is_not_one() -> None:
    assert outcome(read([HERMES], reason="length")) == ("", [], "length")
    required = replace(TOOLS, choice="required")
    assert outcome(read(['[{"name": "time", "arguments": {}}'], required))[1] == []


def test_one_call_where_several_are_not_allowed() -> None:
    single = replace(TOOLS, parallel=False)
    assert outcome(read([HERMES + HERMES], single))[1] == [OSLO]


def test_a_call_that_must_be_made_is_a_schema() -> None:
    talk = Conversation((Message("user", "a"),))
    named = Generation(talk, tools=replace(TOOLS, choice=Named("weather")))
    structure = force_calls(named, "vllm").structure
    assert structure == Structure("json", CITY, "tool_choice")
    assert named.tools is not None
    assert outcome(read(['{"city":', '"Oslo"}'], named.tools)) == ("", [OSLO], "tool_calls")
    required = Generation(talk, tools=replace(TOOLS, choice="required", parallel=False))
    structure = force_calls(required, "vllm").structure
    assert structure is not None
    assert structure.value["maxItems"] == 1
    names = [one["properties"]["name"]["enum"] for one in structure.value["items"]["anyOf"]]
    assert names == [["weather"], ["time"]]
    assert force_calls(replace(required, tools=None), "vllm").structure is None


def test_references_are_not_moved_to_where_they_mean_something_else() -> None:
    deep = Function("deep", {"$defs": {"a": {}}, "properties": {"b": {"$ref": "#/$defs/a"}}})
    tools = Tools((deep,), (deep,), "required")
    forced = force_calls(Generation(Conversation((Message("user", "a"),)), tools=tools), "vllm")
    assert forced.structure is not None
    (call,) = forced.structure.value["items"]["anyOf"]
    assert call["properties"]["arguments"] == {"type": "object"}


def test_a_structure_and_calls_that_may_be_made_exclude_each_other() -> None:
    structure = Structure("json", CITY, "response_format.json_schema.schema")
    talk = Conversation((Message("user", "a"),))
    generation = Generation(talk, tools=TOOLS, structure=structure)
    with pytest.raises(InvalidRequest, match="response_format") as raised:
        force_calls(generation, "vllm")
    assert raised.value.param == "response_format.json_schema.schema"
    unused = replace(generation, tools=replace(TOOLS, choice="none"))
    assert force_calls(unused, "vllm").structure is structure


@pytest.mark.parametrize("name", ["chatml", "llama-3"])
def test_a_template_shows_tools_calls_and_results_in_the_format_that_is_read(name: str) -> None:
    call = ToolCall("weather", OSLO[1], "c1")
    messages = (
        Message("system", "Be brief."),
        Message("user", "How is Oslo?"),
        Message("assistant", "", (call,)),
        Message("tool", "rain", answers="c1"),
    )
    shown: list[dict[str, Any]] = [
        {"type": "function", "function": {"name": "weather", "parameters": CITY}}
    ]
    template = ChatTemplate(FORMATS[name])
    assert template.takes_tools
    prompt = template.render(Conversation(messages), shown)
    assert prompt.count("Be brief.") == 1
    assert json.dumps(CITY)[:20].replace(" ", "") in prompt.replace(" ", "").replace("\n", "")
    assert "rain" in prompt
    written = re.search(
        r'<tool_call>.*?</tool_call>|{"name".*}', prompt.split("How is Oslo?")[1], re.S
    )
    assert written is not None
    assert outcome(read([written[0]]))[1] == [OSLO]
    # without tools the prompt is as it was
    assert "function" not in template.render(Conversation(messages[:2]))


@pytest.mark.parametrize("name", ["mistral", "gemma"])
def test_other_formats_do_not_take_tools(name: str) -> None:
    assert not ChatTemplate(FORMATS[name]).takes_tools
