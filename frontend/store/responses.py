"""Responses that may be asked for again or continued, in SQLite, in bounds of bytes and time.

Each row holds its whole conversation, so that one can go without breaking another. Statements run
in one thread of their own; values are bound, never part of a statement.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

_TABLE = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    expires_s INTEGER NOT NULL,
    size INTEGER NOT NULL,
    response BLOB NOT NULL,
    items BLOB NOT NULL
)
"""
_EXPIRED = "DELETE FROM responses WHERE expires_s <= ?"
_OLDEST = """
DELETE FROM responses WHERE rowid IN (
    SELECT rowid FROM (
        SELECT rowid, SUM(size) OVER (ORDER BY rowid DESC) AS total FROM responses
    ) WHERE total > ?
)
"""


_LOOK_S = 60


class ResponseStore:
    """`path` is a file, or `:memory:` for as long as the process lives."""

    def __init__(self, path: str, ttl_s: int, max_bytes: int) -> None:
        self._path = path
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, "responses")
        self._database: sqlite3.Connection | None = None
        self._size = 0.0
        self._look_s = 0

    async def put(
        self, response: dict[str, Any], items: list[dict[str, Any]], owner: str = ""
    ) -> None:
        """Keeps a response and the items that led to it, for its owner alone."""
        row = (_key(owner, response["id"]), orjson.dumps(response), orjson.dumps(items))
        await self._run(lambda database: self._put(database, *row))

    async def get(
        self, response_id: str, owner: str = ""
    ) -> tuple[bytes, list[dict[str, Any]]] | None:
        """(response, its input items); None when it is not there or its time is over."""
        query = "SELECT response, items FROM responses WHERE id = ? AND expires_s > ?"
        row = await self._run(
            lambda database: database.execute(
                query, (_key(owner, response_id), _now_s())
            ).fetchone()
        )
        return None if row is None else (row[0], orjson.loads(row[1]))

    async def delete(self, response_id: str, owner: str = "") -> bool:
        """Whether it was there."""
        statement = "DELETE FROM responses WHERE id = ? AND expires_s > ?"
        gone = await self._run(
            lambda database: (
                database.execute(statement, (_key(owner, response_id), _now_s())).rowcount
            )
        )
        return gone > 0

    async def close(self) -> None:
        """Ends the thread after what is under way."""
        if self._database is not None:
            await self._run(lambda database: database.close())
        self._thread.shutdown(wait=False)

    def _put(self, database: sqlite3.Connection, key: str, response: bytes, items: bytes) -> None:
        size = len(response) + len(items)
        database.execute(
            "INSERT INTO responses VALUES (?, ?, ?, ?, ?)",
            (key, _now_s() + self._ttl_s, size, response, items),
        )
        self._size += size
        if self._size > self._max_bytes or _now_s() >= self._look_s:
            self._forget(database)

    def _forget(self, database: sqlite3.Connection) -> None:
        """Looks at every row, so not at each call."""
        database.execute(_EXPIRED, (_now_s(),))
        database.execute(_OLDEST, (self._max_bytes * 9 // 10,))
        (self._size,) = database.execute("SELECT TOTAL(size) FROM responses").fetchone()
        self._look_s = _now_s() + _LOOK_S

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._within, work)

    def _within(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._database is None:
            # autocommit: each statement stands for itself
            self._database = sqlite3.connect(self._path, isolation_level=None, timeout=10)
            if self._path != ":memory:":
                self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(_TABLE)
        return work(self._database)


def _key(owner: str, response_id: str) -> str:
    """Names of owners have no spaces, so no two pairs share a key."""
    return f"{owner} {response_id}"


def _now_s() -> int:
    return int(time.time())
