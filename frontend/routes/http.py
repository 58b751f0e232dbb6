"""Sending a whole JSON response. Pure ASGI: no response objects where it is hot."""

from collections.abc import Iterable

from starlette.types import Send


async def send_bytes(
    send: Send,
    body: bytes,
    *,
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
    kind: bytes = b"application/json",
) -> None:
    """One response, head and body."""
    head = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
