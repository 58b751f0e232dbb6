"""Errors that clients read by their text are said in the words of the API that they know."""

import re
from typing import Any

import orjson
import pytest

from frontend.dialects.anthropic import failures as anthropic
from frontend.dialects.ollama import failures as ollama
from frontend.dialects.openai import failures as openai
from frontend.errors import (
    BackendFailed,
    ContextOverflow,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    NotCapable,
    Overloaded,
    RateLimited,
)


def overflow(param: str = "messages", **numbers: Any) -> ContextOverflow:
    return ContextOverflow("it is too long", param=param, limit=4096, **numbers)


LONG = {"prompt_tokens": 5000, "requested_tokens": 1}
FULL = {"prompt_tokens": 4096, "requested_tokens": 1}
GREEDY = {"prompt_tokens": 40, "requested_tokens": 9000}


def openai_error(error: GatewayError) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(openai.render_error(error))["error"]
    return found


def anthropic_text(error: GatewayError) -> str:
    return str(orjson.loads(anthropic.render_error(error, "r"))["error"]["message"])


def ollama_text(error: GatewayError) -> str:
    return str(orjson.loads(ollama.render_error(error))["error"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            overflow(**LONG),
            "This model's maximum context length is 4096 tokens. However, your messages resulted in"
            " 5000 tokens. Please reduce the length of the messages.",
        ),
        (
            overflow("prompt", **FULL),
            "This model's maximum context length is 4096 tokens. However, you requested 4097 tokens"
            " (4096 in the prompt, 1 in the completion). Please reduce the length of the prompt or"
            " completion.",
        ),
        (
            overflow("max_tokens", **GREEDY),
            "This model's maximum context length is 4096 tokens. However, you requested 9040 tokens"
            " (40 in the prompt, 9000 in the completion). Please reduce the length of the prompt or"
            " completion.",
        ),
        (
            overflow("messages"),
            "This model's maximum context length is 4096 tokens. However, it is too long. Please"
            " reduce the length of the messages.",
        ),
    ],
)
def test_openais_clients_know_a_long_prompt(error: ContextOverflow, words: str) -> None:
    told = openai_error(error)
    assert told["message"] == f"{words} (context_length_exceeded)"
    assert told["code"] == "context_length_exceeded"
    assert told["type"] == "invalid_request_error"
    assert told["param"] == error.param


def test_the_responses_api_has_words_of_its_own_for_a_long_input() -> None:
    error = overflow(**LONG)
    error.rename({"messages": "input"})
    told = openai_error(error)
    assert "exceeds the context window" in told["message"]
    assert "maximum context length is 4096 tokens" in told["message"]
    assert told["param"] == "input"


def test_anthropics_clients_know_a_long_prompt() -> None:
    assert anthropic_text(overflow(**LONG)) == "prompt is too long: 5000 tokens > 4096 maximum"
    assert anthropic_text(overflow(**FULL)) == "prompt is too long: 4096 tokens > 4095 maximum"
    assert anthropic_text(overflow()).startswith("prompt is too long")
    # Claude Code asks for fewer tokens by these numbers
    read = re.search(
        r"exceed context limit: (\d+) \+ (\d+) > (\d+)", anthropic_text(overflow(**GREEDY))
    )
    assert read is not None
    assert read.groups() == ("40", "9000", "4096")


def test_ollamas_clients_know_a_long_prompt() -> None:
    for numbers in (LONG, FULL, {}):
        assert "the input length exceeds the context length" in ollama_text(overflow(**numbers))


def test_a_prompt_that_was_found_too_long_without_counting_is_known_as_such() -> None:
    error = InvalidRequest("it has 9 MB", param="messages", code="context_length_exceeded")
    assert openai_error(error)["message"].startswith("This model's maximum context length is ")
    assert anthropic_text(error).startswith("prompt is too long")
    assert ollama_text(error).startswith("the input length exceeds the context length")


def test_an_unknown_model_is_said_as_each_api_says_it() -> None:
    error = ModelNotFound("gpt-9")
    told = openai_error(error)
    assert told["message"].startswith("The model `gpt-9` does not exist")
    assert told["code"] == "model_not_found"
    assert told["type"] == "invalid_request_error"
    assert anthropic_text(error).startswith("model: gpt-9")
    assert ollama_text(error) == "model 'gpt-9' not found"


def test_what_a_model_cannot_do_is_said_as_ollama_says_it() -> None:
    error = NotCapable("the model 'e' does not do chat", model="e", capability="chat")
    assert ollama_text(error) == '"e" does not support chat'
    assert openai_error(error)["code"] == "model_not_supported"


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_filter_of_the_operators_is_known_as_one(code: str) -> None:
    error = InvalidRequest("weapons", code=code)
    told = openai_error(error)
    assert told["code"] == "content_policy_violation"
    assert "request was rejected as a result of the safety system" in told["message"]
    assert "content filtering policy" in anthropic_text(error)


def test_limits_and_load_are_known_as_such() -> None:
    limited, busy = RateLimited("ten a minute"), Overloaded("5 requests are waiting already")
    assert openai_error(limited)["message"] == "Rate limit reached: ten a minute"
    assert "rate limit" in anthropic_text(limited)
    assert anthropic_text(busy).startswith("Overloaded")
    assert ollama_text(busy).startswith("server busy, please try again.")


def test_other_errors_are_told_as_they_are() -> None:
    error = BackendFailed("the model failed")
    assert openai_error(error)["message"] == "the model failed"
    assert anthropic_text(error) == ollama_text(error) == "the model failed"


def test_errors_name_fields_as_the_caller_does() -> None:
    names = {
        "max_tokens": "max_output_tokens",
        "structure": "text.format",
        "structure.json": "text.format.schema",
    }
    error = InvalidRequest("'max_tokens' is 5, 'stop' is 6", param="max_tokens")
    error.rename(names)
    assert (error.message, error.param) == (
        "'max_output_tokens' is 5, 'stop' is 6",
        "max_output_tokens",
    )
    inner = InvalidRequest("'structure.json.items[0]' is odd", param="structure.json.items")
    inner.rename(names)
    assert inner.param == "text.format.schema.items"
    assert inner.message == "'text.format.schema.items[0]' is odd"
    other = InvalidRequest("no field", param=None)
    other.rename(names)
    assert other.param is None
