"""Servers that send anything: an answer becomes events and models of the right types, or a failure.

The answers are true ones in which something was replaced, at any place.
"""

import copy
import math
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.address import parse_server
from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Message
from frontend.domain.models import Model
from frontend.errors import BackendFailed, GatewayError
from frontend.generation.counts import Counts
from frontend.upstreams.anthropic import Anthropic
from frontend.upstreams.ollama import Ollama
from frontend.upstreams.openai.client import OpenAi
from frontend.upstreams.protocol import Call
from frontend.upstreams.registry import Registry
from frontend.upstreams.remote import Remote
from frontend.upstreams.web import Web
from tests.support.events import MODEL
from tests.support.upstream import ScriptedUpstream

CALL = Call("ada/id", 5)
TALK = Generation(Conversation((Message("user", "hello there"),)))


@dataclass(slots=True)
class Told(Web):
    """Gives the same answers for every request."""

    said: list[bytes] = field(default_factory=list)
    listed: Any = None
    metrics: str = ""

    async def read(self, method: str, path: str, body: Any = None, timeout_s: float = 1) -> Any:
        if path == "/api/show":
            return self.listed["shown"]
        return self.listed

    async def text(self, path: str, timeout_s: float, most: int) -> str:
        return self.metrics

    async def lines(
        self, path: str, body: Any, call: Call, is_last: Any = None
    ) -> AsyncGenerator[list[bytes], None]:
        for one in self.said:
            yield [one]


def told() -> Told:
    return Told(parse_server("http://127.0.0.1:9"), {}, lambda _: True)


def openai(web: Told) -> Remote:
    return OpenAi(web, "vllm")


def ollama(web: Told) -> Remote:
    return Ollama(web, "ollama")


def anthropic(web: Told) -> Remote:
    return Anthropic(web, "anthropic")


CALLED = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWERS: dict[Any, list[Any]] = {
    openai: [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "b", "tool_calls": [CALLED]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "logprobs": None}]},
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 1},
            },
        },
    ],
    ollama: [
        {"message": {"content": "a", "thinking": "b"}, "done": False},
        {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}},
        {"message": {"content": ""}, "done": True, "prompt_eval_count": 9, "eval_count": 2},
    ],
    anthropic: [
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "c", "name": "f"},
        },
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": "{}"},
        },
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 2},
        },
    ],
}
LISTS: dict[Any, Any] = {
    openai: {"data": [{"id": "m", "max_model_len": 64, "meta": {"n_ctx_train": 5}, "created": 1}]},
    ollama: {
        "models": [{"name": "m:latest", "digest": "d"}],
        "shown": {"capabilities": ["completion"], "model_info": {"x.context_length": 64}},
    },
    anthropic: {"data": [{"id": "m", "max_input_tokens": 64}]},
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.sampled_from([math.inf, -math.inf, "", "\x00", "a", "stop"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a value."""
    yield at
    pairs = enumerate(value) if isinstance(value, list) else ()
    for key, part in value.items() if isinstance(value, dict) else pairs:
        yield from places(part, (*at, key))


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    made = copy.deepcopy(value)
    inner = made
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = new
    return made


async def read(make: Any, lines: list[bytes]) -> None:
    web = told()
    web.said = lines
    upstream, counts = make(web), Counts(MODEL, TALK)
    async for group in upstream.generate(MODEL, TALK, CALL):
        for event in group:
            counts.check(event)
            assert type(event.completion_tokens) is int
            assert 0 <= event.completion_tokens <= 64


@pytest.mark.parametrize("make", ANSWERS)
@given(data=st.data())
async def test_an_answer_with_anything_in_it(make: Any, data: st.DataObject) -> None:
    mark = b"" if make is ollama else b"data: "
    answer = ANSWERS[make]
    at = data.draw(st.sampled_from([*places(answer)][1:]))
    answer = replaced(answer, at, data.draw(JSON))
    lines = [mark + orjson.dumps(one) for one in answer]
    if data.draw(st.booleans()):
        lines.insert(data.draw(st.integers(0, len(lines))), mark + data.draw(st.binary(max_size=9)))
    try:
        await read(make, lines)
    except GatewayError:
        return


@pytest.mark.parametrize("make", ANSWERS)
async def test_true_answers_are_read(make: Any) -> None:
    mark = b"" if make is ollama else b"data: "
    await read(make, [mark + orjson.dumps(one) for one in ANSWERS[make]])


@pytest.mark.parametrize("make", LISTS)
@given(data=st.data())
async def test_a_list_of_models_with_anything_in_it(make: Any, data: st.DataObject) -> None:
    web = told()
    at = data.draw(st.sampled_from([*places(LISTS[make])]))
    web.listed = replaced(LISTS[make], at, data.draw(JSON))
    if make is ollama and not (isinstance(web.listed, dict) and "shown" in web.listed):
        web.listed = {"shown": None}
    web.metrics = data.draw(st.sampled_from(["", "vllm:num_requests_running 1-2\n"]))
    try:
        models = await make(web).models()
    except BackendFailed:
        return
    for one in models:
        assert isinstance(one, Model)
        assert one.name.isprintable()
        assert one.context_length is None or type(one.context_length) is int


async def test_a_poll_that_fails_in_any_way_is_not_the_last_one() -> None:
    class Odd(ScriptedUpstream):
        fails = True

        async def models(self) -> Any:
            if self.fails:
                raise RuntimeError("an error of another kind")
            return await super().models()

    odd = Odd()
    registry = Registry(odd, 0.01)
    await registry.refresh()
    assert not registry.is_reachable
    odd.fails = False
    await registry.refresh()
    assert registry.is_reachable
