"""The table of what upstreams are sent, cell by cell, against servers on a socket."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from docs.features import (
    ENGINES,
    FEATURES,
    NOT_SENT,
    OPERATIONS,
    REFUSED,
    REMOTES,
    cell,
    offers,
    place_of,
)
from frontend.address import parse_server
from frontend.domain.generation import Generation
from frontend.domain.images import ImageRequest
from frontend.domain.vectors import Embedding, Pairs
from frontend.errors import BackendFailed, BackendUnavailable, InvalidRequest, NotSupported
from frontend.upstreams.protocol import Call
from frontend.upstreams.remote import Remote
from frontend.upstreams.web import Web
from tests.support.events import MODEL
from tests.support.lying import Liar, lying_server

CALL = Call("ada/id", 30)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Liar]]:
    with (
        lying_server() as openai,
        lying_server("ollama") as ollama,
        lying_server("anthropic") as anthropic,
    ):
        known = {"ollama": ollama, "anthropic": anthropic}
        yield {engine: known.get(engine, openai) for engine in REMOTES}


def upstream(engine: str, servers: dict[str, Liar]) -> Remote:
    return REMOTES[engine](Web(parse_server(servers[engine].url), {}, lambda _: True), engine)


@pytest.mark.parametrize("engine", REMOTES)
async def test_each_cell_is_what_a_server_gets(engine: str, servers: dict[str, Liar]) -> None:
    one, asked = upstream(engine, servers), servers[engine].asked
    wrong = {}
    for feature, (generation, mark) in FEATURES.items():
        said, before = cell(engine, feature), len(asked)
        refusal = None
        try:
            text = await _said(one, generation)
        except InvalidRequest as error:
            refusal = error
        if refusal is None:
            assert text == "whole", feature
            seen = place_of(json.loads(asked[-1].partition(" ")[2]), mark) or NOT_SENT
        else:
            assert (refusal.code, len(asked)) == ("unsupported_parameter", before), feature
            assert refusal.param, feature
            seen = REFUSED
        if seen != said:
            wrong[feature] = said, seen
    await one.close()
    assert wrong == {}


async def _said(one: Remote, generation: Generation) -> str:
    groups = [group async for group in one.generate(MODEL, generation, CALL)]
    return "".join(event.text for group in groups for event in group)


async def _do(one: Remote, operation: str) -> None:
    generation = FEATURES["`messages`"][0]
    work: dict[str, Any] = {
        "embed": lambda: one.embed(MODEL, Embedding(["a"]), CALL),
        "rerank": lambda: one.rerank(MODEL, Pairs(["a"], ["b"]), CALL),
        "draw": lambda: one.draw(MODEL, ImageRequest("a cat"), CALL),
        "tokenize": lambda: one.tokenize(MODEL, generation, CALL, strings=False),
        "count": lambda: one.count(MODEL, generation, CALL),
    }
    await work[operation]()


@pytest.mark.parametrize("engine", REMOTES)
async def test_what_a_kind_of_server_lacks_is_a_501_and_is_not_sent(
    engine: str, servers: dict[str, Liar]
) -> None:
    one, asked = upstream(engine, servers), servers[engine].asked
    for operation in OPERATIONS.values():
        before = len(asked)
        if offers(engine, operation):
            # the server answers chats only, so that the answer may not be read
            with suppress(InvalidRequest, BackendFailed, BackendUnavailable):
                await _do(one, operation)
            assert len(asked) > before, operation
        else:
            with pytest.raises(NotSupported):
                await _do(one, operation)
            assert len(asked) == before
    await one.close()


def test_only_a_salt_is_left_out_silently() -> None:
    """A field that is set is sent or refused, at every kind of upstream."""
    left_out = {(e, f) for e in ENGINES for f in FEATURES if cell(e, f) == NOT_SENT}
    assert {feature for _, feature in left_out} == {"`cache_salt`"}
    assert not {engine for engine, _ in left_out} & {"triton", "vllm"}
