"""vLLM's cache of computed prefixes behind two gateways: one shares it, one has it per user."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from frontend.store.database import Database
from frontend.store.location import Location
from tests.e2e.conftest import CHAT
from tests.e2e.test_plain import flags_of
from tests.support.accounts import add, opened
from tests.support.databases import Databases, server_folder
from tests.support.gateway import run_gateway
from tests.support.processes import Service

_BLOCK = 16
"""The tokens of a block: vLLM caches whole blocks."""


@dataclass
class Asking:
    """One gateway and the keys of its users."""

    http: httpx2.Client
    keys: dict[str, str]

    def cached(self, user: str, topic: str, **fields: Any) -> int:
        """Tokens of the prompt that the engine had computed before."""
        text = f"Of {topic}: " + " ".join(f"{topic} has the number {n}." for n in range(40))
        body = {"model": CHAT, "messages": [{"role": "user", "content": text}], "max_tokens": 1}
        answer = self.http.post(
            "/v1/chat/completions",
            json={**body, **fields},
            headers={"authorization": f"Bearer {self.keys[user]}"},
        )
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        assert usage["prompt_tokens"] > 8 * _BLOCK
        return int(usage["prompt_tokens_details"]["cached_tokens"])


async def _people(location: Location) -> dict[str, str]:
    database = Database(location)
    directory = await opened(database)
    keys = {name: (await add(directory, name))[1] for name in ("ada", "bob")}
    await database.close()
    return keys


@pytest.fixture(scope="module", params=["shared", "user"])
def asking(
    request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asking]:
    folder = tmp_path_factory.mktemp("prefixes")
    databases = Databases(server_folder())
    location = databases.sqlite()
    keys = asyncio.run(_people(location))
    (_, address) = flags_of(service, "--triton")
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    flags += ["--prefix-cache-scope", request.param, *flags_of(service, "--triton-key-file")]
    with (
        run_gateway(address, folder / "log", *flags) as gateway,
        httpx2.Client(base_url=gateway.url, timeout=120) as http,
    ):
        yield Asking(http, keys)
    databases.close()


def test_users_share_prefixes_only_where_that_is_the_scope(
    asking: Asking, request: pytest.FixtureRequest
) -> None:
    scope = request.node.callspec.params["asking"]
    topic = f"a river by {scope}"
    # what all prompts of the model begin with may be there already
    first = asking.cached("ada", topic)
    assert first < 4 * _BLOCK
    assert asking.cached("ada", topic) >= 8 * _BLOCK, "its own prefix is used again"
    others = asking.cached("bob", topic)
    if scope == "shared":
        assert others >= 8 * _BLOCK
    else:
        assert others < 4 * _BLOCK
        assert asking.cached("bob", topic) >= 8 * _BLOCK


def test_a_salt_of_a_request_narrows_the_scope(
    asking: Asking, request: pytest.FixtureRequest
) -> None:
    topic = f"a mountain by {request.node.callspec.params['asking']}"
    asking.cached("ada", topic)
    assert asking.cached("ada", topic, cache_salt="one") < 4 * _BLOCK
    assert asking.cached("ada", topic, cache_salt="one") >= 8 * _BLOCK
    # the same text of another user is not a way around the scope
    is_shared = request.node.callspec.params["asking"] == "shared"
    assert (asking.cached("bob", topic, cache_salt="one") >= 8 * _BLOCK) == is_shared
    assert asking.cached("ada", topic, cache_salt="two") < 4 * _BLOCK
