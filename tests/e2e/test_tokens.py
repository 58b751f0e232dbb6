"""/tokenize and /detokenize on the real model, beside its own tokenizer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from transformers import AutoTokenizer

from tests.e2e.conftest import CHAT, EMBEDDING
from tests.support.processes import Service

MESSAGES = [{"role": "user", "content": "What is 2+2? Ünïcödé 😀"}]


@pytest.fixture(scope="module")
def own(repository: Path) -> Any:
    return AutoTokenizer.from_pretrained(repository / f"{CHAT}.prompt/1/tokenizer")


@pytest.fixture
def raw(service: Service) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.url, timeout=30) as client:
        yield client


def test_a_text_and_back(raw: httpx2.Client, own: Any) -> None:
    text = "Hello <|im_start|> world, 😀"
    answer = raw.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    ids = own(text)["input_ids"]
    assert answer == {
        "count": len(ids),
        "max_model_len": 2048,
        "tokens": ids,
        "token_strs": own.convert_ids_to_tokens(ids),
    }
    assert raw.post("/detokenize", json={"model": CHAT, "tokens": ids}).json() == {"prompt": text}


@pytest.mark.parametrize("opened", [True, False])
def test_a_conversation(raw: httpx2.Client, own: Any, opened: bool) -> None:
    body = {"model": CHAT, "messages": MESSAGES, "add_generation_prompt": opened}
    answer = raw.post("/tokenize", json=body).json()
    template = own.apply_chat_template(MESSAGES, add_generation_prompt=opened, tokenize=False)
    assert answer["tokens"] == own(template)["input_ids"]
    assert answer["token_strs"] is None


def test_it_counts_what_a_chat_uses(raw: httpx2.Client) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    body = {"model": CHAT, "messages": MESSAGES, "tools": tools}
    counted = raw.post("/tokenize", json=body).json()["count"]
    chat = {**body, "max_tokens": 1, "tool_choice": "none"}
    answer = raw.post("/v1/chat/completions", json=chat).json()
    assert answer["usage"]["prompt_tokens"] == counted


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {"prompt": "a", "model": EMBEDDING}, "model"),
        ("/tokenize", {"prompt": "a " * 500_000}, "prompt"),
        ("/detokenize", {"tokens": [10**6]}, "tokens"),
    ],
)
def test_what_cannot_be_tokenized_is_refused(
    raw: httpx2.Client, path: str, body: dict[str, Any], param: str
) -> None:
    answer = raw.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
