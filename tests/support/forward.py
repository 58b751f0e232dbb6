"""A port of this machine that leads to a unix socket, as servers elsewhere have ports."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def forwarded(address: str) -> Iterator[str]:
    """`127.0.0.1:PORT` for the socket of `unix:/path`, until the block ends."""
    path, ready, ended = address.removeprefix("unix:"), threading.Event(), asyncio.Event()
    ports: list[int] = []
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to, back = await asyncio.open_unix_connection(path)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, back), pump(to, writer))

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await ended.wait()
        server.close()
        running = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait(10)
    try:
        yield f"127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
