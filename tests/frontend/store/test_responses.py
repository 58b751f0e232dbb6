"""Stored responses on both databases: for their owner, for their time, within their bounds."""

import time
from typing import Any

import orjson
import pytest

from frontend.store.database import Database
from frontend.store.responses import ResponseStore

ITEMS: list[dict[str, Any]] = [{"type": "message", "role": "user", "content": "hi"}]


def response(number: int, text: str = "") -> dict[str, Any]:
    return {"id": f"resp_{number}", "text": text}


async def test_a_response_is_kept_until_it_is_deleted(database: Database) -> None:
    store = ResponseStore(database, 60, 10_000)
    await store.put(response(1), ITEMS, "ada")
    found = await store.get("resp_1", "ada")
    assert found is not None
    assert orjson.loads(found[0]) == response(1)
    assert found[1] == ITEMS
    for wrong in ("resp_1' OR '1'='1", "ada resp_1", "😀"):
        assert await store.get(wrong, "ada") is None
    assert await store.get("resp_1", "bob") is None
    assert not await store.delete("resp_1", "bob")
    assert await store.delete("resp_1", "ada")
    assert not await store.delete("resp_1", "ada")
    assert await store.get("resp_1", "ada") is None


async def test_another_process_sees_it(database: Database) -> None:
    other = Database(database.location)
    await ResponseStore(database, 60, 10_000).put(response(1), ITEMS)
    assert await ResponseStore(other, 60, 10_000).get("resp_1") is not None
    await other.close()


async def test_a_response_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store, now_ns = ResponseStore(database, 60, 10_000), time.time_ns()
    await store.put(response(1), ITEMS)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 61 * 10**9)
    assert await store.get("resp_1") is None
    assert not await store.delete("resp_1")


async def test_the_oldest_go_when_there_is_no_room(database: Database) -> None:
    store = ResponseStore(database, 60, 5_000)
    for number in range(20):
        await store.put(response(number, "x" * 900), ITEMS)
    kept = [number for number in range(20) if await store.get(f"resp_{number}")]
    assert 2 <= len(kept) <= 5
    assert kept == list(range(20))[-len(kept) :]
