"""Gateways that share the files of their metrics, and are killed: the sums go on to agree with the
usage in the database, and what only a living process has is gone with it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import update

from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.tables import gateways
from tests.support.accounts import add, opened
from tests.support.bank import Bank
from tests.support.databases import url_of
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.ledgers import check_books
from tests.support.metrics import value_of
from tests.support.processes import wait_for

_STREAMS, _KIND = 3, ("prompt", "completion")


@dataclass
class Fleet:
    """Gateways on one database, one folder of metrics and one data directory."""

    triton: str
    folder: Path
    location: Location
    key: str = ""
    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, name: str) -> Gateway:
        flags = ["--require-keys", "--database-url", url_of(self.location)]
        return self.stack.enter_context(run_gateway(self.triton, self.folder / name, *flags))

    def chat(self, gateway: Gateway, times: int) -> None:
        for _ in range(times):
            answer = Bank(gateway, self.location, self.key).chat(self.key, max_tokens=5)
            assert answer.status_code == 200, answer.text

    @contextmanager
    def streams(self, gateway: Gateway) -> Iterator[None]:
        """Streams that have begun, and end with their gateway."""
        body = {
            "model": "echo",
            "messages": script(chunks=200, delay_ms=20, never_finish=True),
            "stream": True,
        }
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        url = f"{gateway.url}/v1/chat/completions"
        parts: list[Iterator[str]] = []  # kept: the end of one closes its stream
        with httpx2.Client(timeout=60) as client, ExitStack() as open_ones:
            for _ in range(_STREAMS):
                given = client.stream("POST", url, content=json.dumps(body), headers=headers)
                answer = open_ones.enter_context(given)
                assert answer.status_code == 200
                parts.append(answer.iter_text())
                next(parts[-1])
            yield

    def figures(self, gateway: Gateway) -> str:
        return httpx2.get(f"{gateway.url}/metrics", timeout=30).text

    def agree(self, gateway: Gateway, requests: int) -> None:
        """The sums of all processes, dead and alive, are those of the usage."""
        sums = asyncio.run(self._sums())
        text = self.figures(gateway)
        assert sums["requests"] == requests
        assert value_of(text, "gateway_usage_requests_total") == requests
        for kind in _KIND:
            counted = value_of(text, "gateway_usage_tokens_total", kind=kind)
            assert counted == sums[f"{kind}_tokens"] > 0

    async def _sums(self) -> dict[str, int]:
        database = Database(self.location)
        try:
            return await check_books(database)
        finally:
            await database.close()

    def expire(self) -> None:
        """Ends the leases of gateways, which takes 45 s otherwise; those alive renew theirs."""

        async def end() -> None:
            database = Database(self.location)
            async with database.begin() as connection:
                await connection.execute(update(gateways).values(expires_at_us=0))
            await database.close()

        asyncio.run(end())


@pytest.fixture
def fleet(
    echo_triton: EchoTriton, location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
    made = Fleet(echo_triton.grpc_address, tmp_path, location, asyncio.run(_key(location)))
    with made.stack:
        yield made


async def _key(location: Location) -> str:
    database = Database(location)
    directory = await opened(database)
    _, key = await add(directory, "ada", "admin")
    await database.close()
    return key


def _agrees(fleet: Fleet, gateway: Gateway, requests: int) -> bool:
    try:
        fleet.agree(gateway, requests)
    except AssertionError:
        return False
    return True


def test_sums_agree_with_the_usage_whoever_is_killed(fleet: Fleet) -> None:
    first, second = fleet.start("first"), fleet.start("second")
    for gateway in (first, second):
        fleet.chat(gateway, 5)
    wait_for(lambda: _agrees(fleet, second, 10), what="the sums of two")
    with fleet.streams(first):
        running = value_of(fleet.figures(second), "gateway_requests_running")
        # a gauge of two processes: the one that is asked reads its own again, not the other's
        assert running == _STREAMS
        first.process.kill()
        first.process.wait()
    assert value_of(fleet.figures(second), "gateway_requests_running") == 0
    assert value_of(fleet.figures(second), "gateway_reservations_open") == 0
    third = fleet.start("third")
    fleet.chat(third, 3)
    fleet.expire()
    # what the killed one had begun is charged by another one, at the counts that it wrote down
    total = 13 + _STREAMS
    wait_for(lambda: _agrees(fleet, second, total), what="the charge of what was running")
    fleet.agree(third, total)
    for name in ("fourth", "fifth"):
        third.process.kill()
        third.process.wait()
        third = fleet.start(name)
        fleet.agree(third, total)
    second.process.kill()
    second.process.wait()
    fleet.agree(third, total)
    files = [one.name for one in (fleet.folder / "metrics").glob("*.db")]
    assert len(files) <= 7, files  # counters, histograms and gauges of one, and sums of all before
