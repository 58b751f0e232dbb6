"""Stored responses: for their time, within their bounds, across a restart when in a file."""

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from frontend.store.responses import ResponseStore

ITEMS: list[dict[str, Any]] = [{"type": "message", "role": "user", "content": "hi"}]


def response(number: int, text: str = "") -> dict[str, Any]:
    return {"id": f"resp_{number}", "text": text}


def test_a_response_is_kept_until_it_is_deleted() -> None:
    async def scenario() -> None:
        store = ResponseStore(":memory:", 60, 10_000)
        await store.put(response(1), ITEMS)
        found = await store.get("resp_1")
        assert found is not None
        assert orjson.loads(found[0]) == response(1)
        assert found[1] == ITEMS
        assert await store.get("resp_1' OR '1'='1") is None
        assert await store.delete("resp_1")
        assert not await store.delete("resp_1")
        assert await store.get("resp_1") is None
        await store.close()

    asyncio.run(scenario())


def test_a_response_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        store, now_s = ResponseStore(":memory:", 60, 10_000), time.time()
        await store.put(response(1), ITEMS)
        monkeypatch.setattr(time, "time", lambda: now_s + 61)
        assert await store.get("resp_1") is None
        assert not await store.delete("resp_1")
        await store.close()

    asyncio.run(scenario())


def test_the_oldest_go_when_there_is_no_room() -> None:
    async def scenario() -> None:
        store = ResponseStore(":memory:", 60, 5_000)
        for number in range(20):
            await store.put(response(number, "x" * 900), ITEMS)
        kept = [number for number in range(20) if await store.get(f"resp_{number}")]
        assert 2 <= len(kept) <= 5
        assert kept == list(range(20))[-len(kept) :]
        await store.close()

    asyncio.run(scenario())


def test_a_file_outlives_the_process(tmp_path: Path) -> None:
    async def put() -> None:
        store = ResponseStore(str(tmp_path / "r.db"), 60, 10_000)
        await store.put(response(1), ITEMS)
        await store.close()

    async def get() -> bool:
        store = ResponseStore(str(tmp_path / "r.db"), 60, 10_000)
        found = await store.get("resp_1")
        await store.close()
        return found is not None

    asyncio.run(put())
    assert asyncio.run(get())
