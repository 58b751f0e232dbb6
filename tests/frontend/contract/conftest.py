"""What several contract tests share: a Triton to be killed, a client in a thread of its own."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.echo import EchoTriton, running_echo, script
from tests.support.gateway import Gateway


@pytest.fixture
def mortal_triton(echo_repository: Path, tmp_path: Path) -> Iterator[EchoTriton]:
    """A server of this test's own, to be killed."""
    with running_echo(echo_repository, tmp_path / "triton.log") as server:
        yield server


@pytest.fixture(scope="session")
def own_triton(
    echo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EchoTriton]:
    """A server whose models tests load and unload; each begins by loading what it needs."""
    with running_echo(echo_repository, tmp_path_factory.mktemp("own") / "triton.log") as server:
        yield server


class Reader(threading.Thread):
    """Reads one stream to its end, or until it is `cut`."""

    def __init__(self, gateway: Gateway, text: str, delay_ms: int = 20, **more: Any) -> None:
        super().__init__()
        self._url = f"{gateway.url}/v1/chat/completions"
        messages = script(text=text, delay_ms=delay_ms, **more)
        self._body = {"model": "echo", "messages": messages, "stream": True}
        self.said = ""
        self.cut = False

    def run(self) -> None:
        try:
            with httpx2.stream("POST", self._url, json=self._body) as answer:
                for piece in answer.iter_text():
                    self.said += piece
        except httpx2.TransportError:
            self.cut = True


@contextlib.contextmanager
def posted(gateway: Gateway, body: dict[str, Any], key: str = "") -> Iterator[socket.socket]:
    """A request whose answer only the block reads; the client goes away at its end."""
    data = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
    head += f"authorization: Bearer {key}\r\n" if key else ""
    head += f"content-length: {len(data)}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(head.encode() + data)
        yield client
