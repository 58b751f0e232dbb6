"""Requests with one mistake are answered with the recorded errors, word by word."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from frontend.dialects.anthropic.requests import parse_messages
from frontend.dialects.ollama import requests as ollama
from frontend.dialects.ollama.embed import parse_embed
from frontend.dialects.ollama.models import parse_name
from frontend.dialects.openai.chat import parse_chat
from frontend.dialects.openai.completions import parse_completion
from frontend.dialects.openai.embeddings import parse_embedding
from frontend.dialects.openai.images import parse_image
from frontend.dialects.openai.rerank import parse_rerank, parse_score
from frontend.dialects.openai.responses import parse_response
from tests.golden.cases import FOLDER
from tests.support.bodies import refused

RECORDED = (FOLDER.parent / "refusals.jsonl").read_text().splitlines()
PARSERS: dict[str, Callable[[Any], object]] = {
    "chat": lambda body: parse_chat(body, 99),
    "completion": lambda body: parse_completion(body, 9),
    "embedding": lambda body: parse_embedding(body, 9),
    "image": parse_image,
    "rerank": lambda body: parse_rerank(body, 9, with_documents=True),
    "score": lambda body: parse_score(body, 9),
    "response": lambda body: parse_response(body, 99).resolved([]),
    "messages": lambda body: parse_messages(body, 99),
    "count": lambda body: parse_messages(body, 99, counting=True),
    "ollama_chat": lambda body: ollama.parse_chat(body, 99),
    "ollama_generate": ollama.parse_generate,
    "ollama_embed": lambda body: parse_embed(body, 9, single=False),
    "ollama_embeddings": lambda body: parse_embed(body, 9, single=True),
    "ollama_show": parse_name,
}


@pytest.mark.parametrize("dialect", PARSERS)
def test_errors_are_as_they_were(dialect: str) -> None:
    cases = [case for line in RECORDED if (case := orjson.loads(line))["dialect"] == dialect]
    assert cases
    for case in cases:
        error = refused(PARSERS[dialect], case["body"])
        found = {"message": error.message, "param": error.param, "code": error.code}
        assert found == {name: case[name] for name in found}, case["body"]
