"""The whole gateway in this process, over a scripted upstream: each route's request is settled."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import orjson
import pytest

from frontend.errors import BackendFailed
from tests.support.databases import Databases
from tests.support.events import MODEL, event
from tests.support.inside import client_inside
from tests.support.upstream import ScriptedUpstream

CAPABILITIES = frozenset({"chat", "completion", "embedding", "rerank"})
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
GENERATING: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "m", "prompt": "hi"},
    "/v1/responses": {"model": "m", "input": "hi"},
    "/v1/messages": {**CHAT, "max_tokens": 9},
    "/api/chat": CHAT,
    "/api/generate": {"model": "m", "prompt": "hi"},
}
OTHERS: dict[str, tuple[dict[str, Any], int | None]] = {
    "/v1/embeddings": ({"model": "m", "input": ["a", "b"]}, 5),
    "/api/embed": ({"model": "m", "input": "a"}, 5),
    "/v1/rerank": ({"model": "m", "query": "q", "documents": ["d"]}, 7),
    "/v2/rerank": ({"model": "m", "query": "q", "documents": ["d"]}, 7),
    "/score": ({"model": "m", "queries": "q", "documents": ["d"]}, 7),
    "/v1/images/generations": ({"model": "i", "prompt": "a"}, 3),
    "/v1/messages/count_tokens": (CHAT, None),
    "/v1/responses/input_tokens": ({"model": "m", "input": "hi"}, None),
}


@pytest.fixture
def upstream() -> ScriptedUpstream:
    end = event("b", finish="stop", completion_tokens=2)
    served = [
        replace(MODEL, capabilities=CAPABILITIES, dimensions=2),
        replace(MODEL, name="i", capabilities=frozenset({"image"})),
    ]
    return ScriptedUpstream([[event("a")], [end]], served=served)


@pytest.fixture
async def client(
    upstream: ScriptedUpstream, databases: Databases
) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_inside(upstream, databases) as http:
        yield http


def logged(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one line of the access log."""
    (line,) = [one.getMessage() for one in caplog.records if one.name == "frontend.access"]
    found: dict[str, Any] = orjson.loads(line)
    return found


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", GENERATING)
async def test_what_a_generation_used_is_logged_once(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, path: str, stream: bool
) -> None:
    caplog.set_level("INFO", "frontend.access")
    answer = await client.post(path, json={**GENERATING[path], "stream": stream})
    assert answer.status_code == 200, answer.text
    line = logged(caplog)
    assert (line["model"], line["prompt_tokens"], line["completion_tokens"]) == ("m", 3, 2)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", GENERATING)
async def test_a_failed_generation_is_logged_with_what_it_used(
    client: httpx2.AsyncClient,
    upstream: ScriptedUpstream,
    caplog: pytest.LogCaptureFixture,
    path: str,
    stream: bool,
) -> None:
    caplog.set_level("INFO", "frontend.access")
    upstream.groups, upstream.error = [[event("a")]], BackendFailed("no")
    answer = await client.post(path, json={**GENERATING[path], "stream": stream})
    assert answer.status_code == (200 if stream else 502)
    assert "error" in answer.text
    line = logged(caplog)
    assert (line["error"], line["completion_tokens"]) == ("backend_error", 1)


@pytest.mark.parametrize("path", OTHERS)
async def test_what_another_call_used_is_logged_once(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level("INFO", "frontend.access")
    body, tokens = OTHERS[path]
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert logged(caplog).get("prompt_tokens") == tokens


async def test_an_upstream_that_is_away_is_unavailable_in_every_dialect(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.served = None
    for path, body in GENERATING.items():
        assert (await client.post(path, json=body)).status_code == 503
    for path in ("/v1/models", "/api/tags", "/readyz"):
        assert (await client.get(path)).status_code == 503
