"""The OpenAPI document has the gateway's routes and their parsers' fields: no more, no fewer."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from openapi_spec_validator import validate

from frontend.app import create_gateway
from frontend.dialects.anthropic.requests import parse_messages
from frontend.dialects.fields import Fields
from frontend.dialects.ollama import requests as ollama
from frontend.dialects.ollama.embed import parse_embed
from frontend.dialects.openai.chat import parse_chat
from frontend.dialects.openai.completions import parse_completion
from frontend.dialects.openai.embeddings import parse_embedding
from frontend.dialects.openai.images import parse_image
from frontend.dialects.openai.ranking import parse_rerank, parse_score
from frontend.dialects.openai.responses import parse_response
from frontend.openapi.build import build_document
from frontend.openapi.fields import REFUSED
from frontend.openapi.operations import OPERATIONS
from frontend.settings import Settings
from tests.support.events import MODEL
from tests.support.upstream import ScriptedUpstream

PARSERS: dict[str, Callable[[Any], object]] = {
    "/v1/chat/completions": lambda body: parse_chat(body, 9),
    "/v1/completions": lambda body: parse_completion(body, 9),
    "/v1/responses": lambda body: parse_response(body, 9),
    "/v1/embeddings": lambda body: parse_embedding(body, 9),
    "/v1/images/generations": parse_image,
    "/v1/rerank": lambda body: parse_rerank(body, 9, with_documents=True),
    "/v1/score": lambda body: parse_score(body, 9),
    "/v1/messages": lambda body: parse_messages(body, 9),
    "/v1/messages/count_tokens": lambda body: parse_messages(body, 9, counting=True),
    "/api/chat": lambda body: ollama.parse_chat(body, 9),
    "/api/generate": ollama.parse_generate,
    "/api/embed": lambda body: parse_embed(body, 9, single=False),
    "/api/embeddings": lambda body: parse_embed(body, 9, single=True),
}


def test_it_has_every_route_and_no_other() -> None:
    async def routes() -> set[tuple[str, str]]:
        gateway = create_gateway(Settings(), ScriptedUpstream())
        return {
            (route.method, re.sub(r":\w+}", "}", route.path))
            for route in gateway.routes.all
            if route.method != "HEAD"
        }

    assert {(one.method, one.path) for one in OPERATIONS} == asyncio.run(routes())


def test_it_is_valid() -> None:
    document = build_document([MODEL])
    validate(document)
    example = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]
    assert example["application/json"]["example"]["model"] == "m"


@pytest.mark.parametrize("path", PARSERS)
def test_it_has_every_field_and_no_other(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (operation,) = (one for one in OPERATIONS if one.path == path)
    assert operation.body is not None
    known: set[str] = set()
    take = Fields.take

    def noted(self: Fields, name: str) -> Any:
        if self.at("") == "":
            known.add(name)
        return take(self, name)

    monkeypatch.setattr(Fields, "take", noted)
    monkeypatch.setattr(Fields, "exhausted", property(lambda _: False))
    body = {"model": "m", **(operation.example or {})}
    PARSERS[path](body)
    if path == "/v1/score":
        for first, second in (("text_1", "text_2"), ("data_1", "data_2")):
            PARSERS[path]({"model": "m", first: "a", second: ["b"]})
    assert set(operation.body) <= known
    assert known - set(operation.body) <= REFUSED
