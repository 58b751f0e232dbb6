"""Responses that may be asked for again or continued, in bounds of bytes and time.

Each row holds its whole conversation, so that one can go without breaking another. Every gateway
process on the same database sees the same responses.
"""

from typing import Any

import orjson
from sqlalchemy import ColumnElement, and_, delete, insert, select

from frontend.store.database import Database
from frontend.store.retention import Retention, now_us
from frontend.store.tables import responses


class ResponseStore:
    """Stored responses; the oldest are removed when they have more than `max_bytes`."""

    def __init__(self, database: Database, ttl_s: int, max_bytes: int) -> None:
        self._database = database
        self._ttl_us = ttl_s * 1_000_000
        self._retention = Retention(responses, max_bytes)

    async def put(
        self, response: dict[str, Any], items: list[dict[str, Any]], owner: str = ""
    ) -> None:
        """Keeps a response and the items that led to it; only its owner can read them."""
        # bytes, so that both databases return exactly what was sent
        row = {"response": orjson.dumps(response), "conversation": orjson.dumps(items)}
        size, now = sum(map(len, row.values())), now_us()
        added = insert(responses).values(
            owner_id=owner,
            id=response["id"],
            created_at_us=now,
            expires_at_us=now + self._ttl_us,
            size_bytes=size,
            **row,
        )
        async with self._database.begin() as connection:
            await connection.execute(added)
            await self._retention.added(connection, size)

    async def get(
        self, response_id: str, owner: str = ""
    ) -> tuple[bytes, list[dict[str, Any]]] | None:
        """(response, its input items); None when it is not there or it has expired."""
        query = select(responses.c.response, responses.c.conversation).where(
            _kept(response_id, owner)
        )
        async with self._database.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else (row.response, orjson.loads(row.conversation))

    async def delete(self, response_id: str, owner: str = "") -> bool:
        """Whether it was there."""
        async with self._database.begin() as connection:
            gone = await connection.execute(delete(responses).where(_kept(response_id, owner)))
        return gone.rowcount > 0


def _kept(response_id: str, owner: str) -> ColumnElement[bool]:
    return and_(
        responses.c.owner_id == owner,
        responses.c.id == response_id,
        responses.c.expires_at_us > now_us(),
    )
