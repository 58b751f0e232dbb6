"""A lean HTTP/1.1 client for load: it costs the machine under test as little as Python can.

Keeps one connection per worker. Knows status, content-length and chunked bodies; nothing else.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Answer:
    """One reply. Times are seconds since the request was written, at `start_s` of the clock."""

    status: int
    body: bytes
    first_s: float
    total_s: float
    start_s: float


class Connection:
    """One keep-alive connection to a server on loopback."""

    def __init__(self, port: int, key: str = "") -> None:
        self._port = port
        self._key = f"authorization: Bearer {key}\r\n" if key else ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Sends `body` as JSON. `first_s` is when the first data event with content arrived."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n"
            f"{self._key}\r\n"
        )
        start = time.perf_counter()
        self._writer.write(head.encode() + data)
        status, headers = await self._head(self._reader)
        if "chunked" in headers.get("transfer-encoding", ""):
            content, first = await self._chunks(self._reader, start)
        else:
            content = await self._reader.readexactly(int(headers["content-length"]))
            first = time.perf_counter() - start
        return Answer(status, content, first, time.perf_counter() - start, start)

    async def _head(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(":", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {k.lower(): v.strip() for k, v in pairs}

    async def _chunks(self, reader: asyncio.StreamReader, start: float) -> tuple[bytes, float]:
        parts, first = [], 0.0
        while size := int(await reader.readline(), 16):
            part = (await reader.readexactly(size + 2))[:-2]
            if not first and any(map(_has_token, part.split(b"\n\n"))):
                first = time.perf_counter() - start
            parts.append(part)
        await reader.readline()
        return b"".join(parts), first

    def close(self) -> None:
        """Drops the connection."""
        if self._writer is not None:
            self._writer.close()


def _has_token(event: bytes) -> bool:
    """Whether the event carries text; an event with only the role does not."""
    return any(
        b'"%s":"' % key in event and b'"%s":""' % key not in event for key in (b"content", b"text")
    )


async def run_load(
    port: int, path: str, bodies: list[dict[str, Any]], workers: int, key: str = ""
) -> tuple[list[Answer], float]:
    """Sends all `bodies` with `workers` in flight; returns the answers and the wall seconds.

    Raises RuntimeError when an answer is not 200.
    """
    queue = list(reversed(bodies))
    answers: list[Answer] = []

    async def work(connection: Connection) -> None:
        while queue:
            answers.append(await connection.post(path, queue.pop()))

    connections = [Connection(port, key) for _ in range(workers)]
    start = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    wall_s = time.perf_counter() - start
    for connection in connections:
        connection.close()
    if failed := next((answer for answer in answers if answer.status != 200), None):
        raise RuntimeError(f"status {failed.status}: {failed.body[:500]!r}")
    return answers, wall_s
