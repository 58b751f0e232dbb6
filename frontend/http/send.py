"""Sending a whole JSON response. Pure ASGI: no response objects where it is hot."""

from collections.abc import Iterable

from starlette.types import Send

# a quote or a backslash would end the quoted text of the header early
_PLAIN = bytes(code if 32 <= code < 127 and code not in b'"\\' else ord("?") for code in range(256))


def warning(warnings: list[str]) -> list[tuple[bytes, bytes]]:
    """The header `warning`. Names in it come from clients, so only plain characters pass."""
    if not warnings:
        return []
    # RFC 9110 (section 5.5): bytes beyond ASCII have no agreed meaning in a header
    text = "; ".join(warnings)[:1000].encode("ascii", "replace")
    # 299: "miscellaneous persistent warning" (RFC 7234, section 5.5.7)
    return [(b"warning", b'299 - "' + text.translate(_PLAIN) + b'"')]


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
    start = {"type": "http.response.start", "status": status, "headers": head}
    # for `http.protocol`: the body follows at once
    await send({**start, "is_whole": True})
    await send({"type": "http.response.body", "body": body})
