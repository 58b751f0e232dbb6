"""/tokenize and /detokenize: each field is used or refused by name."""

from typing import Any

import orjson
import pytest

from frontend.dialects.openai.tokens import parse_detokenize, parse_tokenize, render_tokens
from frontend.domain.generation import Conversation, Passage, Tokenized
from tests.support.bodies import refused
from tests.support.events import MODEL

CHAT = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "look"}}]


def test_a_text() -> None:
    call = parse_tokenize({"prompt": "hi", "add_special_tokens": False}, 8)
    assert (call.model, call.capability, call.strings) == (None, "completion", False)
    assert call.generation.prompt == Passage("hi", special_tokens=False)


def test_a_conversation_with_tools() -> None:
    body = {
        "model": "m",
        "messages": CHAT,
        "tools": TOOLS,
        "return_token_strs": True,
        "add_generation_prompt": False,
        "chat_template_kwargs": {"a": 1},
    }
    call = parse_tokenize(body, 8)
    assert (call.model, call.capability, call.strings) == ("m", "chat", True)
    assert isinstance(call.generation.prompt, Conversation)
    assert call.generation.prompt.opened is False
    assert call.generation.tools is not None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": CHAT}, "prompt"),
        ({"prompt": "a", "tools": TOOLS}, "tools"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "a", "return_tokens": True}, "return_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": CHAT * 9}, "messages"),
        ({"messages": CHAT, "chat_template": "{{ x }}"}, "chat_template"),
        (
            {"messages": CHAT, "add_generation_prompt": True, "continue_final_message": True},
            "add_generation_prompt",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:,"}}],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(body: dict[str, Any], param: str) -> None:
    assert refused(parse_tokenize, body, 8).param == param


@pytest.mark.parametrize("tokens", [None, "1", [-1], [1.5], [2**31]])
def test_ids_are_numbers_that_a_tensor_holds(tokens: Any) -> None:
    assert (refused(parse_detokenize, {"tokens": tokens}).param or "").startswith("tokens")


def test_the_answer_has_the_fields_of_vllm() -> None:
    answer = orjson.loads(render_tokens(Tokenized([1, 2], ["a", "b"]), MODEL))
    assert answer == {"count": 2, "max_model_len": 64, "tokens": [1, 2], "token_strs": ["a", "b"]}
