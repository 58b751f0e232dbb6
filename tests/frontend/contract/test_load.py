"""Many at once, slow ones, and too many: each gets an answer or an error, and memory stays flat."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from openai import APIError, APITimeoutError, AsyncOpenAI, OpenAI

from tests.frontend.contract.conftest import Reader, posted
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import PATIENCE_S, wait_for


def test_the_queue_is_bounded(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--max-running", "1", "--max-waiting", "0")
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        reader = Reader(gateway, "queue " * 50, delay_ms=150)
        reader.start()
        wait_for(lambda: "queue" in reader.said, what="the first token")
        body = {"model": "echo", "messages": script(text="one too many")}
        answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"]
        reader.join()
        assert httpx2.post(f"{gateway.url}/v1/chat/completions", json=body).status_code == 200


async def test_64_streams_at_once_are_not_mixed_up(gateway: Gateway) -> None:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused") as client:

        async def one(number: int) -> str:
            text = f"{number} " * 8
            stream = await client.chat.completions.create(
                model="echo", messages=script(text=text, delay_ms=20), stream=True
            )
            said = [c.choices[0].delta.content or "" async for c in stream]
            assert "".join(said) == text
            return text

        assert len(set(await asyncio.gather(*(one(number) for number in range(64))))) == 64


async def test_2000_streams_are_open_at_once_and_all_end_well(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    """On one process: some run, the others wait in its line with an open connection."""
    flags = ("--max-waiting", "2000", "--heartbeat-s", "1")
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        opened, all_open = 0, asyncio.Event()

        async def one(number: int) -> bool:
            nonlocal opened
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            opened += 1
            if opened == 2000:
                all_open.set()
            await all_open.wait()
            writer.write(_request(f"reply {number}"))
            said = await reader.read()
            writer.close()
            told = b"".join(part for part in said.split(b"data: ") if b'"content"' in part)
            return b" 200 OK" in said and b"[DONE]" in said and b'"%d"' % number in told

        done = await asyncio.gather(*(one(number) for number in range(2000)))
        assert sum(done) == 2000


def _request(text: str) -> bytes:
    body = {"model": "echo", "messages": script(text=text), "stream": True}
    data = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
    head += f"content-length: {len(data)}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + data


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("first_delay_ms", [20_000, 0])
def test_whoever_leaves_gives_the_slot_back(
    echo_triton: EchoTriton, tmp_path: Path, stream: bool, first_delay_ms: int
) -> None:
    """Whether they leave before the first token or later, while they run or while they wait."""
    flags = ("--max-running", "1", "--max-waiting", "4")
    with (
        run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        slow = script(text="x", first_delay_ms=first_delay_ms, never_finish=True)
        endless: dict[str, Any] = {"model": "echo", "messages": slow, "stream": stream}
        runner = posted(gateway, endless)
        with runner:
            for _ in range(2):  # these wait in the line
                with pytest.raises(APITimeoutError):
                    client.with_options(timeout=0.2).chat.completions.create(**endless)
        quick = client.with_options(timeout=PATIENCE_S).chat.completions
        answer = quick.create(model="echo", messages=script(text="next"))
        assert answer.choices[0].message.content == "next"


def test_a_stream_that_waits_shows_that_it_lives(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--heartbeat-s", "0.05")
    with (
        run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        messages = script(text="a b", first_delay_ms=500, delay_ms=500)
        body: dict[str, Any] = {"model": "echo", "messages": messages, "stream": True}
        text = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body).text
        assert text.startswith(": ")
        assert text.count(": waiting\n\n") >= 4
        stream = client.chat.completions.create(**body)
        assert [c.choices[0].delta.content for c in stream] == ["", "a ", "b", None]
        failing = script(text="a", first_delay_ms=500, fail_after=1)
        with pytest.raises(APIError) as broken:
            list(client.chat.completions.create(**{**body, "messages": failing}))
        assert broken.value.code == "backend_error"


def test_clients_that_do_not_read_cost_no_memory(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--client-timeout-s", "2")
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        process = psutil.Process(gateway.process.pid)
        before = process.memory_info().rss
        messages = [{"role": "system", "content": "unread"}, *script(chunks=8_000)]
        body = {"model": "echo", "messages": messages, "stream": True}
        body |= {"logprobs": True, "top_logprobs": 20}  # some 16 MB in all
        seen: list[int] = []

        def all_let_go() -> bool:
            seen.append(process.memory_info().rss)
            return gateway.log.read_text().count("client_stalled") == 6

        with contextlib.ExitStack() as clients:
            for _ in range(6):
                clients.enter_context(posted(gateway, body))
            wait_for(all_let_go, what="the end of every request")
        assert max(seen) - before < 48 * 2**20
