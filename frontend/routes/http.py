"""Sending bytes and server-sent events. Pure ASGI: no response objects where it is hot."""

import contextlib
import logging
from collections.abc import AsyncIterator, Iterable

from starlette.types import Send

from frontend.dialects.openai.failures import render_stream_error
from frontend.errors import GatewayError
from frontend.routes.trace import current

JSON, SSE = b"application/json", b"text/event-stream; charset=utf-8"
_log = logging.getLogger(__name__)
_STREAM_HEADERS = (
    (b"content-type", SSE),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


async def send_bytes(
    send: Send,
    body: bytes,
    *,
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """A whole JSON response."""
    head = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def send_stream(send: Send, pieces: AsyncIterator[bytes]) -> None:
    """A stream of server-sent events.

    Its head goes out with the first piece, so that a failure before it is an ordinary error
    response. A failure after it is an event of its own, then the stream closes: never in silence.
    """
    started = False
    async with contextlib.aclosing(pieces):  # type: ignore[type-var]
        try:
            async for piece in pieces:
                if not piece:
                    continue
                if not started:
                    started = True
                    await send(_stream_start())
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except Exception as error:  # the client must hear of it, whatever it is
            if not started:
                raise
            event = render_stream_error(_told(error))
            await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _stream_start() -> dict[str, object]:
    return {"type": "http.response.start", "status": 200, "headers": list(_STREAM_HEADERS)}


def _told(error: Exception) -> GatewayError:
    trace = current()
    if not isinstance(error, GatewayError):
        _log.exception("request %s", trace.id, exc_info=error)
        error = GatewayError(f"the gateway failed; the operator finds why as {trace.id}")
    trace.error = error.code or error.type
    return error
