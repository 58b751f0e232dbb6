"""Floods of strangers, from one address and from many: what is stored and held is bounded, another
caller is served meanwhile, and no answer says who exists."""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import func, select

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.requests import MAX_PENDING
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.tables import key_requests, metadata
from tests.support.accounts import add, opened
from tests.support.databases import url_of
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import memory_peak_bytes

pytestmark = pytest.mark.timeout(300)
_FLOODING, _CALLS, _MIB = 24, 12, 2**20
Beside = Callable[[], Awaitable[None]]
Send = Callable[[httpx2.AsyncClient, int], Awaitable[httpx2.Response]]


@dataclass
class Town:
    """A gateway with a user who has a password, one without, one who is disabled; and a key."""

    gateway: Gateway
    location: Location
    key: str = ""

    async def flood(self, send: Send, beside: Beside | None = None) -> Counter[int]:
        """Sends from all sides until another caller was served as often as it wanted, and what
        `beside` does is done."""
        seen: Counter[int] = Counter()
        async with self.client() as flooding, self.client() as other:
            numbers, started = itertools.count(), asyncio.Event()

            async def stranger() -> None:
                for number in numbers:
                    seen[(await send(flooding, number)).status_code] += 1
                    if seen.total() >= 2 * _FLOODING:
                        started.set()

            async with asyncio.TaskGroup() as group:
                strangers = [group.create_task(stranger()) for _ in range(_FLOODING)]
                await started.wait()
                for _ in range(_CALLS):
                    await self._call(other)
                if beside is not None:
                    await beside()
                for each in strangers:
                    each.cancel()
        return seen

    async def _call(self, client: httpx2.AsyncClient) -> None:
        body = {"model": "echo", "messages": script(text="beside")}
        headers = {"authorization": f"Bearer {self.key}"}
        answer = await client.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        limits = httpx2.Limits(max_connections=_FLOODING)
        url = self.gateway.url
        async with httpx2.AsyncClient(base_url=url, timeout=120, limits=limits) as http:
            yield http

    async def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        database = Database(self.location)
        found = {}
        async with database.connect() as rows:
            for table in metadata.sorted_tables:
                count = select(func.count()).select_from(table)
                found[str(table.name)] = (await rows.execute(count)).scalar_one()
        await database.close()
        return found

    def grown_mib(self, before: int) -> float:
        """By how much the gateway's peak of memory is above a number of bytes."""
        return (memory_peak_bytes(self.gateway.process.pid) - before) / _MIB


@pytest.fixture
def town(echo_triton: EchoTriton, location: Location, tmp_path: Path) -> Iterator[Town]:
    key = asyncio.run(_fill(location))
    flags = ["--require-keys", "--database-url", url_of(location)]
    flags += ["--trusted-proxies", "127.0.0.0/8", "--second-factor-roles", "faculty"]
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        yield Town(gateway, location, key)


async def _fill(location: Location) -> str:
    database = Database(location)
    directory = await opened(database)
    ada, key = await add(directory, "ada")
    await directory.users.reset_password(OPERATOR, ada.id)
    await add(directory, "without")
    off, _ = await add(directory, "disabled")
    await directory.users.reset_password(OPERATOR, off.id)
    await directory.users.edit(OPERATOR, off.id, {"disabled": True})
    await database.close()
    return key


async def form_of(client: httpx2.AsyncClient) -> tuple[str, str]:
    """The token of the form to sign in, and its cookie."""
    page = await client.get("/login", headers={"accept": "text/html"})
    found = re.search('name="csrf" value="([0-9a-f]+)"', page.text)
    assert found is not None
    return found[1], page.headers["set-cookie"].partition(";")[0]


def address(number: int) -> str:
    """One of many addresses."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@pytest.mark.parametrize("addresses", ["one", "many"])
async def test_guesses_of_passwords(town: Town, addresses: str) -> None:
    async with town.client() as client:
        csrf, cookie = await form_of(client)
    before, peak = await town.counts(), memory_peak_bytes(town.gateway.process.pid)

    async def guess(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
        name = "ada" if number % 2 else f"nobody-{number}"
        fields = {"name": name, "password": f"wrong password {number}", "csrf": csrf}
        source = address(0 if addresses == "one" else number)
        headers = {"cookie": cookie, "x-forwarded-for": source, "accept": "application/json"}
        return await client.post("/login", data=fields, headers=headers)

    seen = await town.flood(guess)
    assert seen.keys() <= {403, 429, 503}, seen
    assert seen[403], "some are checked"
    # one hash of 64 MiB at a time for strangers; the rest is that of the gateway's other work
    assert town.grown_mib(peak) < 3 * 64
    after = await town.counts()
    grown = {name: after[name] - before[name] for name in after if after[name] > before[name]}
    # strangers who were on their way at the end have no answer
    assert grown.pop("admin_events") <= seen.total() + _FLOODING
    # the secret that signs what browsers keep; the others are of the caller beside
    assert grown.pop("secrets", 0) <= 1
    assert grown.pop("usage", 0) <= _CALLS
    assert grown.pop("reservations", 0) <= _CALLS
    assert grown.keys() <= {"usage_hourly", "usage_rollups", "audit_records", "uptime", "counters"}


async def test_no_answer_says_who_exists(town: Town) -> None:
    async with town.client() as client:
        csrf, cookie = await form_of(client)
        texts = set()
        for number, name in enumerate(("ada", "nobody", "without", "disabled", "a" * 300, "é\x00")):
            fields = {"name": name, "password": "not the password", "csrf": csrf}
            headers = {"cookie": cookie, "x-forwarded-for": address(number)}
            answer = await client.post("/login", data=fields, headers=headers)
            error = answer.json()["error"]
            texts.add((answer.status_code, error["message"], error["code"]))
    assert texts == {(403, "the name or the password is not correct", "sign_in_failed")}


@pytest.mark.parametrize("addresses", ["one", "many"])
async def test_requests_for_keys(town: Town, addresses: str) -> None:
    left = 10
    await _fill_requests(town.location, MAX_PENDING - left)
    peak = memory_peak_bytes(town.gateway.process.pid)

    async def submit(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
        form = {"name": f"n{number}", "email": "ada@example.org", "reason": "x" * 1000}
        headers = {"x-forwarded-for": address(0 if addresses == "one" else number)}
        return await client.post("/key-requests", json=form, headers=headers)

    seen = await town.flood(submit)
    assert seen.keys() <= {202, 429, 503}, seen
    assert seen[202] == (5 if addresses == "one" else left)
    assert (await town.counts())["key_requests"] == MAX_PENDING - left + seen[202]
    assert town.grown_mib(peak) < 64


async def _fill_requests(location: Location, count: int) -> None:
    database = Database(location)
    now_us = (await opened(database)).requests.changes.now_us()
    row: dict[str, object] = {"email": "a@b.c", "reason": "", "status": "pending", "address": "x"}
    row |= {"claim_digest": b"", "created_at_us": now_us, "expires_at_us": now_us + 3_600_000_000}
    made = [{**row, "id": f"r{n}", "name": f"x{n}", "key_id": f"k{n}"} for n in range(count)]
    async with database.begin() as rows:
        await rows.execute(key_requests.insert(), made)
    await database.close()
