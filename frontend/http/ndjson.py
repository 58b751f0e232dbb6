"""Newline-delimited JSON streams: whole lines only, a failure is the last line.

The head goes out with the first line, so that a failure before it is an ordinary error response.
There are no heartbeats: the clients of this format parse every line.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable

from starlette.types import Send


async def send_lines(
    send: Send,
    lines: AsyncGenerator[bytes, None],
    render_failure: Callable[[Exception], bytes],
) -> None:
    """Sends every line as it comes."""
    # else nginx buffers the answer (its directive `proxy_buffering`)
    head = [(b"content-type", b"application/x-ndjson"), (b"x-accel-buffering", b"no")]
    started = False

    async def write(line: bytes) -> None:
        nonlocal started
        if not started:
            started = True
            await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": line, "more_body": True})

    # closed here, not by the garbage collector: closing cancels the engine's request
    async with contextlib.aclosing(lines):
        try:
            async for line in lines:
                if line:
                    await write(line)
        except Exception as error:  # whatever it is, the client must get an error
            if not started:
                raise
            await write(render_failure(error))
    await send({"type": "http.response.body", "body": b""})
