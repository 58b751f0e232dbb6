"""Bytes that are not the HTTP they claim to be, and connections that are only taken."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack.conftest import CHAT, Bystander, Target
from tests.support.processes import wait_for

MODELS = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"


TRAILER = b"x: y\r\n" * 10_000


def flood(client: socket.socket, piece: bytes, limit_bytes: int) -> int:
    """Sends until the gateway closes the connection, or so much; returns how much that was."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < limit_bytes:
            client.sendall(piece)
            sent += len(piece)
    return sent


def heard(client: socket.socket) -> bytes:
    """All that is answered until the gateway closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def watch(second: Bystander) -> None:
    """Until the second caller has had some more answers."""
    seen = len(second.latencies_s)
    wait_for(lambda: len(second.latencies_s) >= seen + 50, what="50 answers")


@contextlib.contextmanager
def many(target: Target, count: int, first: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that have sent no more than that."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(target.connect())
            with contextlib.suppress(ConnectionError):
                client.sendall(first)
            clients.append(client)
        yield clients


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (CHUNKED + b"\r\n0\r\nx: ", b"y" * 65536),
        (CHUNKED + b"\r\n0\r\n", b"y" * 65536),
        (CHUNKED + b"\r\n0\r\n", TRAILER),
        (CHUNKED + b"\r\n", b"1\r\na\r\n" * 10_000),
        (CHUNKED + b"\r\n1;x=", b"y" * 65536),
        (CHUNKED + b"\r\n", b"0" * 65536),
        (CHUNKED + b"x: ", b"y" * 65536),
        (CHUNKED, b"x: y\r\n" * 10_000),
        (b"GET /", b"x" * 65536),
        (b"", b"\r\n" * 32_768),
        (b"", MODELS * 2000),
    ],
    ids=lambda value: repr(value[-12:]),
)
def test_endless_framing_ends_and_nobody_notices(
    target: Target, start: bytes, piece: bytes
) -> None:
    limit_bytes = 64 * 2**20
    key = b"" if piece == TRAILER else b"authorization: Bearer %b\r\n" % target.mallory.encode()
    start = start.replace(b"host: localhost\r\n", b"host: localhost\r\n" + key)
    with target.beside() as second, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(target.connect()) for _ in range(3)]
        for client in clients:
            client.sendall(start)
        sent: list[int] = []

        def attack(client: socket.socket) -> None:
            sent.append(flood(client, piece, limit_bytes))

        threads = [threading.Thread(target=attack, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        watch(second)
    assert max(sent) < limit_bytes, "the gateway read it all"


def test_a_trailer_is_no_header(target: Target) -> None:
    body = json.dumps({"model": CHAT, "messages": [], "max_tokens": 1}).encode()
    trailer = b"authorization: Bearer %b\r\n" % target.mallory.encode()
    raw = CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
    with target.connect() as client:
        client.sendall(raw + trailer + b"\r\n")
        status = heard(client).split(b" ")[1]
    assert status in (b"400", b"401")


@pytest.mark.parametrize("late", [b"x", b"x" * 5000])
def test_a_refusal_ends_its_connection(target: Target, late: bytes) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n\r\n"
    with target.beside() as second, many(target, 200, head) as clients:
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(late)
            raw = heard(client)
            assert raw.startswith(b"HTTP/1.1 401 ")
            assert b"connection: close" in raw
        watch(second)


@pytest.mark.parametrize(
    "first",
    [b"", b"GET", CHUNKED, MODELS, CHUNKED + b"x: " + b"y" * 60_000],
    ids=["nothing", "a method", "a part of a head", "a refused request", "a large part of a head"],
)
def test_connections_that_are_only_taken(target: Target, first: bytes) -> None:
    with target.beside() as second, many(target, 2200, first):
        watch(second)


def test_answers_that_nobody_reads(target: Target) -> None:
    page = b"GET /docs/swagger/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with target.beside() as second, many(target, 500, page * 4):
        watch(second)


PARTS = st.sampled_from(
    [
        b"GET /v1/models HTTP/1.1\r\n", b"POST /v1/chat/completions HTTP/1.1\r\n", b"host: x\r\n",
        b"POST /v1/chat/completions HTTP/1.0\r\n", b"host: localhost\r\n", b"content-length: 5\r\n",
        b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip\r\n",
        b"expect: 100-continue\r\n", b"connection: upgrade\r\nupgrade: h2c\r\n", b"\r\n", b"\n",
        b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b" ", b"\t", b"\0", b";",
        b"x" * 70_000, b"x: y\r\n" * 200, MODELS, MODELS * 50,
    ]
)  # fmt: skip


def test_any_framing_leaves_the_second_caller_alone(target: Target) -> None:
    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(st.lists(PARTS, min_size=1, max_size=10))
    def attack(parts: list[bytes]) -> None:
        with target.connect() as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"".join(parts))
                client.shutdown(socket.SHUT_WR)
            answers = heard(client).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
            for answer in answers.split(b"HTTP/1.1 ")[1:]:
                assert answer[:1] == b"4", answer[:300]

    with target.beside() as second:
        attack()
        watch(second)


@pytest.mark.parametrize(
    "head",
    [
        b"POST %b HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST %b HTTP/1.1\r\n\r\n",
        b"POST %b HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST %b HTTP/1.1\r\nhost: a b\r\n\r\n",
        b"POST %b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_refusal_names_its_header(target: Target, head: bytes) -> None:
    with target.connect() as client:
        client.sendall(head % b"/v1/models")
        raw = heard(client)
    assert raw.startswith(b"HTTP/1.1 400 ")
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["error"]["param"]
