"""Tool calls and reasoning, read by vLLM's own parsers inside a real engine with random weights.

What a random model would never write, a regular expression makes it write.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings

from frontend.schemas.check import find_errors
from python_backends.errors import MARKER
from tests.python_backends.models import write_chat
from tests.support.client import Client, StreamError, text_of
from tests.support.schema_grammars import plan
from tests.support.schemas import schemas
from tests.support.triton import Server, serve
from tests.support.weights import write_chat_tokenizer, write_llama

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}<|im_start|>assistant\n{% if enable_thinking %}{% endif %}"
    "{# <think> #}"
)
SHORT = {"type": "string", "pattern": "^[a-z]{1,6}$"}
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"at": SHORT, "often": {"enum": [1, 2, 3]}},
            "required": ["at", "often"],
            "additionalProperties": False,
        },
    },
}
WAIT = {"type": "function", "function": {"name": "wait", "parameters": {"type": "object"}}}
WAIT["function"]["parameters"]["properties"] = {}
WAIT["function"]["parameters"]["additionalProperties"] = False


@pytest.fixture(scope="module")
def engine_server(scratch: Path) -> Iterator[Server]:
    folder = scratch / "llama-tools"
    write_llama(folder)
    write_chat_tokenizer(folder, TEMPLATE)
    config = {"enable_in_reasoning": True}
    name = write_chat(scratch / "tools", "tiny", folder, structured_outputs_config=config)
    with serve(scratch / "tools", [name], scratch / "tools-run", ready_s=300) as running:
        yield running


@pytest.fixture
def client(engine_server: Server) -> Iterator[Client]:
    with Client(engine_server.grpc_address) as connected:
        yield connected


def ask(
    client: Client, reply: dict[str, Any], structured: Any = None, **sampling: Any
) -> list[dict[str, Any]]:
    prompt = {"messages": [{"role": "user", "content": "hi"}]}
    parameters = {"max_tokens": 400, "temperature": 1.0, "seed": 7, **sampling}
    if structured:
        parameters["structured_outputs"] = structured
    return client.events("tiny", prompt=prompt, sampling_parameters=parameters, reply=reply)


def token_id(letter: str) -> int:
    """In the vocabulary of `write_chat_tokenizer`."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet()).index(letter) + 3


def calls_of(events: list[dict[str, Any]], index: int = 0) -> list[tuple[str, Any]]:
    """(name, arguments) of each call of a completion."""
    deltas = [
        call
        for event in events
        if event["index"] == index
        for call in event.get("tool_calls") or ()
    ]
    numbers = sorted({call["index"] for call in deltas})
    assert numbers == list(range(len(numbers)))
    calls = []
    for number in numbers:
        mine = [call for call in deltas if call["index"] == number]
        assert [("id" in call, "name" in call) for call in mine] == [
            (position == 0, position == 0) for position in range(len(mine))
        ]
        calls.append((mine[0]["name"], json.loads("".join(call["arguments"] for call in mine))))
    return calls


def test_the_log_names_the_parsers(engine_server: Server) -> None:
    assert "parsed with Parsers(tool='hermes', reasoning='qwen3')" in engine_server.log.read_text()


@pytest.mark.parametrize("seed", range(4))
def test_a_required_call_obeys_its_schema(client: Client, seed: int) -> None:
    reply = {"tools": [LOOK, WAIT], "tool_choice": "required", "parallel_tool_calls": False}
    options = {"chat_template_kwargs": {"enable_thinking": False}}
    events = ask(client, reply | options, seed=seed)
    assert events[-1]["finish_reason"] == "tool_calls"
    ((name, arguments),) = calls_of(events)
    if name == "look":
        assert set(arguments) == {"at", "often"}
        assert arguments["often"] in {1, 2, 3}
    else:
        assert (name, arguments) == ("wait", {})
    assert text_of(events) == ""


def test_a_named_call_ends_as_openai_has_it(client: Client) -> None:
    reply = {
        "tools": [LOOK, WAIT],
        "tool_choice": {"name": "look"},
        "chat_template_kwargs": {"enable_thinking": False},
    }
    events = ask(client, reply, n=2)
    for index in range(2):
        ((name, arguments),) = calls_of(events, index)
        assert name == "look"
        assert arguments["at"].isalpha()
    assert {event["finish_reason"] for event in events} == {None, "stop"}


def test_free_calls_are_told_from_content(client: Client) -> None:
    written = (
        r'Sure\.<tool_call>\n\{"name": "look", "arguments": \{"at": "a\\u00fc"\}\}\n</tool_call>'
    )
    reply = {"tools": [LOOK], "chat_template_kwargs": {"enable_thinking": False}}
    # beside tools the expression binds an answer, which this begins with a letter of
    events = ask(client, reply, {"regex": written}, logit_bias={str(token_id("S")): 100})
    assert calls_of(events) == [("look", {"at": "aü"})]
    assert text_of(events) == "Sure."
    assert events[-1]["finish_reason"] == "tool_calls"
    assert sum("tool_calls" in event for event in events) > 1, "arguments come in deltas"


def test_without_choice_calls_stay_text(client: Client) -> None:
    written = r'<tool_call>\n\{"name": "look", "arguments": \{\}\}\n</tool_call>'
    reply = {"tools": [LOOK], "tool_choice": "none"}
    reply["chat_template_kwargs"] = {"enable_thinking": False}
    events = ask(client, reply, {"regex": written})
    assert calls_of(events) == []
    assert text_of(events).startswith("<tool_call>")
    assert events[-1]["finish_reason"] == "stop"


def test_reasoning_is_told_from_content(client: Client) -> None:
    events = ask(client, {}, {"regex": "<think>let me see</think>blue"})
    assert "".join(event.get("reasoning") or "" for event in events) == "let me see"
    assert text_of(events) == "blue"
    assert events[-1]["usage"]["completion_tokens"] > len("let me see")
    hidden = ask(client, {"include_reasoning": False}, {"regex": "<think>let me see</think>blue"})
    assert not any(event.get("reasoning") for event in hidden)
    assert text_of(hidden) == "blue"


def test_thoughts_end_with_their_budget(client: Client) -> None:
    def think(**budget: int) -> list[dict[str, Any]]:
        prompt = {"messages": [{"role": "user", "content": "<think>"}]}  # begun in the prompt
        parameters = {"max_tokens": 60, "temperature": 1.0, "seed": 7, **budget}
        return client.events("tiny", prompt=prompt, sampling_parameters=parameters, reply={})

    assert text_of(think()) == ""
    events = think(thinking_token_budget=20)
    assert 0 < events[-1]["usage"]["reasoning_tokens"] <= 20
    assert text_of(events)


def test_a_request_that_asks_for_the_bare_text_gets_it(client: Client) -> None:
    written = "<think>a</think>b"
    events = client.events(
        "tiny",
        prompt={"messages": [{"role": "user", "content": "hi"}]},
        sampling_parameters={"structured_outputs": {"regex": written}, "max_tokens": 40},
    )
    assert text_of(events) == written


ANSWER = {"type": "object", "properties": {"a": SHORT}, "required": ["a"]}
ANSWER |= {"additionalProperties": False}
OFF = {"chat_template_kwargs": {"enable_thinking": False}}


def test_an_answer_has_its_structure_and_calls_stay_possible(client: Client) -> None:
    reply = {"tools": [{**LOOK, "function": {**LOOK["function"], "strict": True}}], **OFF}
    answers = calls = 0
    for seed in range(12):
        events = ask(client, reply, {"json": ANSWER}, seed=seed)
        if named := calls_of(events):
            calls += 1
            assert all(
                name == "look" and arguments["often"] in {1, 2, 3} for name, arguments in named
            )
        elif events[-1]["finish_reason"] == "stop":
            answers += 1
            jsonschema_rs.validate(ANSWER, json.loads(text_of(events)))
    assert calls
    assert answers


@pytest.mark.parametrize("choice", ["required", {"name": "look"}])
def test_a_forced_call_is_the_answer_whatever_structure_that_had(
    client: Client, choice: Any
) -> None:
    events = ask(client, {"tools": [LOOK], "tool_choice": choice, **OFF}, {"json": ANSWER})
    assert {name for name, _ in calls_of(events)} == {"look"}


def test_without_calls_an_answer_has_its_structure(client: Client) -> None:
    reply = {"tools": [LOOK], "tool_choice": "none", **OFF}
    events = ask(client, reply, {"json": ANSWER})
    jsonschema_rs.validate(ANSWER, json.loads(text_of(events)))


@pytest.mark.parametrize(
    ("reply", "param"),
    [
        ({"tools": [LOOK], "tool_choice": {"name": "run"}}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tolls": []}, "reply.tolls"),
    ],
)
def test_what_cannot_be_read_is_refused(client: Client, reply: dict[str, Any], param: str) -> None:
    with pytest.raises(StreamError) as caught:
        ask(client, reply)
    fields = json.loads(str(caught.value).partition(MARKER)[2].strip())
    assert (fields["status"], fields["param"]) == (400, param)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schema=schemas())
def test_no_schema_is_broken_at_a_stop(client: Client, schema: dict[str, Any]) -> None:
    """Of a schema the engine gets what the gateway makes of it."""
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    made = plan(schema)
    events = ask(client, off, {"json": json.loads(made.grammar)}, max_tokens=300)
    if events[-1]["finish_reason"] == "stop" and not made.left_out:
        (fault,) = find_errors([(made.checker, text_of(events))])
        assert fault in (None, "it is not valid JSON"), text_of(events)
        json.loads(text_of(events))  # also numbers that are too large for most
