"""Every answer to a caller with a key says what is left of the limits: in each dialect, streamed or
not, and refused for any reason."""

import re
from typing import Any

import httpx2
import pytest

from tests.frontend.contract.test_quotas import bank
from tests.support.bank import Bank
from tests.support.echo import script

__all__ = ["bank"]
CHAT: dict[str, Any] = {"model": "echo", "messages": script(text="one two"), "max_tokens": 9}
PROMPT: dict[str, Any] = {"model": "echo", "prompt": "hello", "max_tokens": 2}
CASES: dict[str, tuple[str, str, Any, int]] = {
    "chat": ("POST", "/v1/chat/completions", CHAT, 200),
    "chat, streamed": ("POST", "/v1/chat/completions", CHAT | {"stream": True}, 200),
    "completion": ("POST", "/v1/completions", PROMPT, 200),
    "completion, streamed": ("POST", "/v1/completions", PROMPT | {"stream": True}, 200),
    "response": ("POST", "/v1/responses", {"model": "echo", "input": "hello"}, 200),
    "response, streamed": (
        "POST", "/v1/responses", {"model": "echo", "input": "hello", "stream": True}, 200
    ),
    "Anthropic": ("POST", "/v1/messages", CHAT, 200),
    "Anthropic, streamed": ("POST", "/v1/messages", CHAT | {"stream": True}, 200),
    "Ollama": ("POST", "/api/chat", CHAT | {"stream": False}, 200),
    "Ollama, streamed": ("POST", "/api/chat", CHAT, 200),
    "lists": ("GET", "/v1/models", None, 200),
    "own account": ("GET", "/me", None, 200),
    "body": ("POST", "/v1/chat/completions", {"model": "echo"}, 400),
    "no JSON": ("POST", "/v1/messages", "text", 400),
    "model": ("POST", "/v1/chat/completions", CHAT | {"model": "absent"}, 404),
    "model, Anthropic": ("POST", "/v1/messages", CHAT | {"model": "absent"}, 404),
    "model, Ollama": ("POST", "/api/chat", CHAT | {"model": "absent"}, 404),
    "permission": ("GET", "/admin/users", None, 403),
    "nothing there": ("GET", "/me/keys/absent", None, 404),
}  # fmt: skip


def check(answer: httpx2.Response) -> None:
    """Both kinds of limits, in the words of every dialect."""
    for kind, limit in (("requests", "500"), ("tokens", "10000")):
        found = {
            name: answer.headers.get(f"x-ratelimit-{name}-{kind}", "")
            for name in ("limit", "remaining", "reset")
        }
        assert found["limit"] == limit, (answer.status_code, found)
        assert 0 <= int(found["remaining"]) <= int(limit)
        assert re.fullmatch(r"(\d+d)?(\d+h)?(\d+m)?([\d.]+s)?|\d+ms", found["reset"]), found
        if answer.request.url.path == "/v1/messages":
            assert answer.headers[f"anthropic-ratelimit-{kind}-limit"] == limit


@pytest.fixture(scope="module")
def key(bank: Bank) -> str:
    return bank.user("headers", requests_minute=500, tokens_month=10_000)[1]


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_is_on_every_answer(bank: Bank, key: str, name: str) -> None:
    method, path, body, status = CASES[name]
    answer = bank.ask(method, path, key, body)
    assert answer.status_code == status, answer.text
    check(answer)


def test_it_is_on_a_refusal_for_a_limit_in_every_dialect(bank: Bank) -> None:
    _, key = bank.user("limited", requests_minute=500, tokens_month=10_000, requests_day=1)
    assert bank.chat(key, max_tokens=1).status_code == 200
    for path in ("/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/completions"):
        body = PROMPT if path == "/v1/completions" else CHAT
        refused = bank.ask("POST", path, key, body)
        assert refused.status_code == 429, refused.text
        # the smallest limit of requests is the one of the day
        assert refused.headers["x-ratelimit-limit-requests"] == "1"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.headers["x-ratelimit-limit-tokens"] == "10000"
