"""A gateway process in front of the real Triton with the echo models; databases."""

import functools
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from argon2 import PasswordHasher
from openai import OpenAI

from frontend.accounts import passwords
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.databases import Databases, server_folder
from tests.support.echo import EchoTriton
from tests.support.gateway import Gateway, run_gateway
from tests.support.redis import RedisServer


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Hashes of the test's own process cost little, also for the gateway that checks them: a hash
    says what it costs. Gateways hash new passwords as they do elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        cheap = functools.partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
        patch.setattr(passwords, "PasswordHasher", cheap)
        yield


@pytest.fixture(scope="session")
def gateway(echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests that leave it as it is."""
    with run_gateway(echo_triton.grpc_address, tmp_path_factory.mktemp("gateway") / "log") as it:
        yield it


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    """The official SDK."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
def raw(gateway: Gateway) -> Iterator[httpx2.Client]:
    """A plain HTTP client, for what the SDK hides or would never send."""
    with httpx2.Client(base_url=gateway.url, timeout=30) as http:
        yield http


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Makes databases of both kinds."""
    made = Databases(server_folder())
    yield made
    made.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for the whole run. A test that stops it starts it again."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), password="hunter2")
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, databases: Databases) -> Location:
    """A new database with all tables, once of each kind."""
    return databases.sqlite() if request.param == "sqlite" else databases.postgres()


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, databases: Databases) -> Location:
    """A new database without tables, once of each kind."""
    return databases.empty(request.param)


@pytest.fixture
async def database(location: Location) -> AsyncIterator[Database]:
    """An open one, once of each kind."""
    opened = Database(location)
    yield opened
    await opened.close()
