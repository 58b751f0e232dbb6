"""The private socket answers while the event loop turns, however many clients are connected."""

import asyncio
from pathlib import Path

from frontend.process.liveness import liveness


async def ask(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_it_answers_each_connection(tmp_path: Path) -> None:
    path = tmp_path / "health.sock"
    async with liveness(path):
        silent = await asyncio.open_unix_connection(path)
        for _ in range(3):
            assert (await ask(path)).startswith(b"HTTP/1.1 200 OK\r\n")
    silent[1].close()
    await silent[1].wait_closed()


async def test_without_a_path_nothing_listens() -> None:
    async with liveness(None):
        pass
