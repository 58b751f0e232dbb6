"""What a canonical request becomes in Triton's tensors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from frontend.domain.generation import Conversation, Generation, Passage, Reply, Truncation
from frontend.domain.identity import Caller, Role
from frontend.domain.messages import Image, Message, Text, ToolCall
from frontend.domain.sampling import Sampling
from frontend.domain.structure import Structure
from frontend.domain.tools import Function, Named, Tools
from frontend.generation.salts import salt
from frontend.upstreams.triton.contract import write_prompt, write_reply, write_sampling
from tests.golden.cases import CASES, FOLDER, read

RECORDED: dict[str, Any] = json.loads(Path(FOLDER.parent, "contract.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_the_golden_requests_become_the_recorded_json(name: str) -> None:
    generation = read(*CASES[name]).generation
    recorded = RECORDED[name]
    # the order of names in messages, tools and schemas can reach the model's prompt
    assert orjson.dumps(write_prompt(generation)) == orjson.dumps(recorded["prompt"])
    assert orjson.dumps(write_reply(generation)) == orjson.dumps(recorded["reply"])
    assert write_sampling(generation) == recorded["sampling_parameters"]


def test_a_conversation_is_written_whole() -> None:
    messages = (
        Message("user", (Image(), Text("what is it?")), name="ada"),
        Message("assistant", "", (ToolCall("look", "{}", "c1"), ToolCall("hear", "{}"))),
        Message("tool", "a cat", answers="c1"),
        Message("assistant", "a cat", reasoning="hm"),
    )
    prompt = Conversation(messages, {"a": 1}, "low", opened=False, continued=True, prefix=[7])
    limits = {"context_length": 64, "truncation": Truncation(8, 4)}
    assert write_prompt(Generation(prompt, **limits)) == {  # type: ignore[arg-type]
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "text", "text": "what is it?"}],
                "name": "ada",
            },
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "type": "function",
                        "id": "c1",
                        "function": {"name": "look", "arguments": "{}"},
                    },
                    {"type": "function", "function": {"name": "hear", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "content": "a cat", "tool_call_id": "c1"},
            {"role": "assistant", "content": "a cat", "reasoning_content": "hm"},
        ],
        "chat_template_kwargs": {"a": 1},
        "reasoning_effort": "low",
        "add_generation_prompt": False,
        "continue_final_message": True,
        "prefix_token_ids": [7],
        "context_length": 64,
        "truncate": {"reply": 8, "keep": 4},
    }


def test_the_engine_may_call_fewer_functions_than_the_template_shows() -> None:
    look, hear = Function("look", {"type": "object"}, "d", strict=True), Function("hear", {})
    tools = Tools((look, hear), (hear,), Named("hear"), parallel=False)
    asked = Generation(Conversation(()), reply=Reply(reasoning=False), tools=tools)
    shown = write_prompt(asked)["tools"]
    assert [one["function"]["name"] for one in shown] == ["look", "hear"]
    assert shown[0]["function"] == {
        "name": "look",
        "description": "d",
        "parameters": {"type": "object"},
        "strict": True,
    }
    assert write_reply(asked) == {
        "tools": shown[1:],
        "tool_choice": {"name": "hear"},
        "parallel_tool_calls": False,
        "include_reasoning": False,
    }


@pytest.mark.parametrize(
    ("prompt", "reply", "length", "written"),
    [
        (Passage("a"), None, None, None),
        (Passage("a"), None, 64, {"raw": True, "context_length": 64}),
        (Passage("a"), Reply(raw=True, prompt_token_ids=True), None,
         {"raw": True, "prompt_token_ids": True}),
        (Passage("a", "b"), Reply(), None, {"infill": True}),
        (Conversation(()), Reply(), None, {}),
    ],
)  # fmt: skip
def test_a_reply_says_how_the_text_is_read(
    prompt: Any, reply: Reply | None, length: int | None, written: Any
) -> None:
    assert write_reply(Generation(prompt, reply=reply, context_length=length)) == written


def test_a_salt_reaches_the_engine_and_only_that_owners_requests_have_it() -> None:
    callers = [Caller(one, one, Role("student", 1, frozenset()), group="g") for one in "ab"]
    work = Generation(Passage("x"))
    assert write_reply(salt("shared", callers[0], work)) is None
    salts = {}
    for scope in ("user", "group"):
        for caller in callers:
            written = write_reply(salt(scope, caller, work))
            assert written is not None
            assert written["raw"] is True
            salts[scope, caller.user] = written["cache_salt"]
    assert salts["user", "a"] != salts["user", "b"]
    assert salts["group", "a"] == salts["group", "b"] != salts["user", "a"]
    own = write_reply(salt("user", callers[0], replace(work, cache_salt="mine")))
    assert own is not None
    assert own["cache_salt"] not in salts.values()


def test_sampling_is_written_with_the_engines_own_names() -> None:
    sampling = Sampling(
        max_tokens=4, thinking_budget=2, logprobs=0, prompt_logprobs=1, extras={"priority": 3}
    )
    structure = Structure("regex", "a+", "guided_regex", {"whitespace_pattern": " "})
    assert write_sampling(Generation(Passage("a"), sampling, structure=structure)) == {
        "max_tokens": 4,
        "thinking_token_budget": 2,
        "logprobs": 0,
        "prompt_logprobs": 1,
        "priority": 3,
        "structured_outputs": {"regex": "a+", "whitespace_pattern": " "},
    }
