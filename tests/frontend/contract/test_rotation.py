"""A key that is rotated while it is used at two gateways: its texts share limits and charges."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.tables import usage
from tests.support.bank import Bank, staffed
from tests.support.databases import url_of
from tests.support.echo import EchoTriton, script
from tests.support.gateway import run_gateway
from tests.support.ledgers import rows_of
from tests.support.processes import wait_for


@pytest.fixture
def banks(echo_triton: EchoTriton, location: Location, tmp_path: Path) -> Iterator[list[Bank]]:
    admin = asyncio.run(staffed(location))
    flags = ["--require-keys", "--database-url", url_of(location)]
    triton = echo_triton.grpc_address
    with (
        run_gateway(triton, tmp_path / "one", *flags) as one,
        run_gateway(triton, tmp_path / "two", *flags) as two,
    ):
        bank = Bank(one, location, admin)
        yield [bank, replace(bank, gateway=two)]


def test_all_texts_of_a_key_count_in_its_limits(banks: list[Bank]) -> None:
    one, two = banks
    user, old = one.user("ada")
    (key,) = [each["id"] for each in one.ask("GET", f"/admin/keys?user_id={user}").json()["data"]]
    what = {"measure": "requests", "period": "day", "amount": 3}
    one.make("/admin/quotas", scope_kind="key", scope_id=key, **what)
    new = two.make(f"/admin/keys/{key}/rotate", grace_s=3600)["key"]
    newest = one.make(f"/admin/keys/{key}/rotate", grace_s=3600)["key"]
    for bank, text in ((one, old), (two, new), (one, newest)):
        answer = bank.chat(text, max_tokens=1)
        assert answer.status_code == 200, answer.text
    for bank, text in ((two, old), (one, new), (two, newest)):
        refused = bank.chat(text, max_tokens=1)
        assert refused.status_code == 429, refused.text
        assert "3 requests per day" in refused.text
    path = f"/admin/usage?key_id={key}&interval=total"
    wait_for(lambda: one.ask("GET", path).json()["totals"]["requests"] == 3, what="the usage")


def test_a_request_goes_on_when_its_text_ends(banks: list[Bank]) -> None:
    one, two = banks
    user, old = one.user("ada", tokens_month=100_000)
    (key,) = [each["id"] for each in one.ask("GET", f"/admin/keys?user_id={user}").json()["data"]]
    body = {"model": "echo", "messages": script(chunks=4000, delay_ms=10), "max_tokens": 4000}
    headers = {"authorization": f"Bearer {old}"}
    url = f"{one.gateway.url}/v1/chat/completions"
    with httpx2.stream(
        "POST", url, json=body | {"stream": True}, headers=headers, timeout=120
    ) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        next(lines)
        new = two.make(f"/admin/keys/{key}/rotate", grace_s=1)["key"]
        for bank in banks:
            wait_for(lambda bank=bank: bank.ask("GET", "/me", old).status_code == 401, what="ends")
            assert bank.ask("GET", "/me", new).status_code == 200
        # it began while the text worked, and is charged to the key
        seen = 0
        while seen < 20:
            seen += next(lines).startswith("data: {")
    used = two.settled(new)
    assert used >= 20
    rows = asyncio.run(_rows(one.location))
    assert [(row.key_id, row.prompt_tokens + row.completion_tokens) for row in rows] == [
        (key, used)
    ]


async def _rows(location: Location) -> list[Any]:
    database = Database(location)
    try:
        return await rows_of(database, usage)
    finally:
        await database.close()
