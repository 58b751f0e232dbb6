"""The table of routes, for tests that try every one of them."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from frontend.app import create_gateway
from frontend.http.routing import Route
from frontend.settings import Settings
from tests.support.upstream import ScriptedUpstream


def routes(folder: Path) -> list[Route]:
    """Every route of a gateway, whose files are in the folder."""

    async def read() -> list[Route]:
        settings = Settings(data_directory=folder)
        return list(create_gateway(settings, ScriptedUpstream()).routes.all)

    # Playwright has a loop of its own in the thread of a test
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(read())).result()


def address(route: Route, value: str = "absent") -> str:
    """The path of a route with this value for each parameter."""
    return re.sub(r"\{\w+(:path)?\}", value, route.path)


def writing(table: list[Route]) -> Iterator[Route]:
    """Those that change something."""
    return (one for one in table if one.method not in ("GET", "HEAD"))
