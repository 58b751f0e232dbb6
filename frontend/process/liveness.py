"""Answers on a unix socket for as long as the event loop runs, with what the models do.

It is independent of callers' connections and the limits on them, so a supervisor can distinguish a
gateway that is full from one that hangs.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
_READ_S = 5.0


@contextlib.asynccontextmanager
async def liveness(path: Path | None, describe: Callable[[], bytes] = bytes) -> AsyncIterator[None]:
    """Listens at `path`, if there is one, until the block ends. `describe` makes each answer's
    body."""
    if path is None:
        yield
        return
    answering: set[asyncio.Task[None]] = set()

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_answer(reader, writer, describe))
        # the loop keeps only weak references to tasks: an unreferenced one may vanish half-way
        answering.add(task)
        task.add_done_callback(answering.discard)

    server = await asyncio.start_unix_server(answer, path)
    try:
        yield
    finally:
        server.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, describe: Callable[[], bytes]
) -> None:
    # a supervisor that went away or stays silent does not concern the gateway
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        try:
            async with asyncio.timeout(_READ_S):
                # the request itself does not matter: the supervisor asks for one thing only
                await reader.readuntil(b"\r\n\r\n")
            body = describe()
            writer.write(_HEAD % len(body) + body)
        finally:
            writer.close()
            await writer.wait_closed()
