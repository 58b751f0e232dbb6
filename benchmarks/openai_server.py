"""A small server on loopback that answers in OpenAI's dialect, so that a proxy alone is measured.

It lists the model `m`. The last message is a JSON object: `tokens` of the answer, the seconds
before each of them (`gap_s`), and whether they come as a stream.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


def ask(tokens: int, gap_s: float = 0.0, *, stream: bool, padding: str = "") -> dict[str, Any]:
    """The body of a request for such an answer."""
    script = json.dumps({"tokens": tokens, "gap_s": gap_s, "padding": padding})
    messages = [{"role": "user", "content": script}]
    return {"model": "m", "stream": stream, "messages": messages, "max_tokens": 100}


@asynccontextmanager
async def running() -> AsyncIterator[str]:
    """The server's address."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=4096)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = head.partition("content-length:")[2].partition("\r\n")[0]
            body = await reader.readexactly(int(size or 0))
            if head.startswith("get /v1/models"):
                _send(writer, b'{"data": [{"id": "m"}]}')
            elif head.startswith("get"):
                _send(writer, b"")
            else:
                await _answer(writer, json.loads(body))
    except (OSError, EOFError, asyncio.CancelledError):
        writer.close()


async def _answer(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    script = json.loads(body["messages"][-1]["content"])
    tokens, gap_s = script["tokens"], script["gap_s"]
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    if not body.get("stream"):
        await asyncio.sleep(gap_s * tokens)
        message = {"role": "assistant", "content": "token " * tokens}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        _send(writer, json.dumps({"choices": [choice], "usage": usage}).encode())
        return
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for number in range(tokens):
        if gap_s:
            await asyncio.sleep(gap_s)
        _chunk(writer, {"choices": [{"index": 0, "delta": {"content": f"token{number} "}}]})
        if gap_s:
            await writer.drain()
    _chunk(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    _chunk(writer, {"choices": [], "usage": usage})
    last = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(last), last))
    await writer.drain()


def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(body) + body)


def _chunk(writer: asyncio.StreamWriter, value: object) -> None:
    data = b"data: " + json.dumps(value).encode() + b"\n\n"
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
