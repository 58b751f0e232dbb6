"""The whole gateway in this process, for requests without a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from pydantic import SecretStr

from frontend.app import create_gateway
from frontend.settings import Settings
from tests.support.databases import Databases
from tests.support.upstream import ScriptedUpstream


@asynccontextmanager
async def client_inside(
    upstream: ScriptedUpstream, databases: Databases
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a new gateway over `upstream`; at the end every request must be settled."""
    url = SecretStr(f"sqlite:///{databases.sqlite().file}")
    gateway = create_gateway(Settings(host="127.0.0.1", database_url=url), upstream)
    transport = httpx2.ASGITransport(gateway.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http
    assert gateway.path.idle
    await gateway.database.close()
