"""Reading bounded JSON, sending bytes and streams, and noticing that the client went away.

Pure ASGI where it is hot: no per-request middleware objects, no response models.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.types import Receive, Send

from frontend.errors import InvalidRequest, TooLarge, UnsupportedMedia

JSON, SSE = b"application/json", b"text/event-stream; charset=utf-8"


async def read_json(request: Request, max_bytes: int) -> Any:
    """The body as JSON. Raises UnsupportedMedia, TooLarge, InvalidRequest."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() not in {"application/json", ""}:
        raise UnsupportedMedia(f"send 'application/json', not '{kind[:60]}'")
    parts, size = [], 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise TooLarge(f"the request body is larger than {max_bytes} bytes")
        parts.append(part)
        if not message.get("more_body"):
            break
    try:
        return orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the request body is not valid JSON: {error}") from None


async def send_bytes(
    send: Send, body: bytes, *, status: int = 200, kind: bytes = JSON, headers: Any = ()
) -> None:
    """A whole response."""
    head = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def send_stream(send: Send, pieces: AsyncIterator[bytes]) -> None:
    """A server-sent event stream. Its head goes out with the first piece, so that a failure before
    it is still an ordinary error response.
    """
    started = False
    async with contextlib.aclosing(pieces):  # type: ignore[type-var]
        async for piece in pieces:
            if not started:
                started = True
                head = [(b"content-type", SSE), (b"cache-control", b"no-cache")]
                head.append((b"x-accel-buffering", b"no"))
                await send({"type": "http.response.start", "status": 200, "headers": head})
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextlib.contextmanager
def cancelled_with_client(receive: Receive) -> Iterator[None]:
    """Cancels the block when the client goes away, and swallows that cancellation."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
    finally:
        watcher.cancel()
