"""Fetching from a real TLS server on loopback, which plays servers of every temper."""

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from frontend.address import Address
from frontend.media.fetch import Fetcher, FetchFailed
from tests.support.processes import wait_for

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
PUBLIC: Address = ipaddress.ip_address("8.8.8.8")
HERE: Address = ipaddress.ip_address("127.0.0.1")
AUTHORITY = trustme.CA()


class Web:
    """Answers each request with the bytes that stand for its path; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            writer.write(self.answers.get(head.split()[1], b"HTTP/1.1 404 No\r\n\r\n"))
            await writer.drain()
            if "stall" in head:
                await reader.read()
            writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    found = Web()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("images.test", "127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def fetcher(*answers: list[Address], **options: Any) -> Fetcher:
    """One whose names resolve to these, in turn, the last one for good."""
    left = list(answers) or [[HERE]]

    async def resolve(host: str, port: int) -> list[Address]:
        return left.pop(0) if len(left) > 1 else left[0]

    tls = ssl.create_default_context()
    AUTHORITY.configure_trust(tls)
    settings: dict[str, Any] = {"max_bytes": 1000, "timeout_s": 5, "networks": LOOPBACK}
    return Fetcher(**{**settings, **options}, resolve=resolve, tls=tls)


def ok(body: bytes, *headers: str) -> bytes:
    length = [] if headers else [f"content-length: {len(body)}"]
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, *length, "", ""]).encode() + body


def moved(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()


async def test_the_name_stays_while_the_address_is_pinned(web: Web) -> None:
    web.answers["/a?b=c"] = ok(b"picture")
    # a second look-up would find the metadata service: there is none
    once = fetcher([HERE], [ipaddress.ip_address("169.254.169.254")])
    assert await once.fetch(f"https://images.test:{web.port}/a?b=c#d", "ada") == b"picture"
    assert web.asked[0].startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"host: images.test:{web.port}" in web.asked[0].lower()


async def test_a_certificate_for_another_name_is_refused(web: Web) -> None:
    web.answers["/"] = ok(b"picture")
    with pytest.raises(FetchFailed, match="does not send a valid response"):
        await fetcher().fetch(f"https://other.test:{web.port}/", "ada")
    assert not web.asked


@pytest.mark.parametrize(
    "addresses",
    [
        [HERE],
        [PUBLIC, HERE],
        [ipaddress.ip_address("::ffff:127.0.0.1")],
        [ipaddress.ip_address("169.254.169.254")],
        [],
    ],
)
async def test_names_of_inner_addresses_are_refused(web: Web, addresses: list[Address]) -> None:
    with pytest.raises(FetchFailed, match="not public"):
        await fetcher(addresses, networks=()).fetch(f"https://images.test:{web.port}/", "ada")
    assert not web.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"])
async def test_inner_addresses_themselves_are_refused(host: str) -> None:
    with pytest.raises(FetchFailed, match="not public"):
        await fetcher(networks=()).fetch(f"https://{host}/", "ada")


async def test_redirects_are_followed_and_checked_anew(web: Web) -> None:
    web.answers["/a"] = moved("/b")
    web.answers["/b"] = moved(f"https://127.0.0.1:{web.port}/c")
    web.answers["/c"] = ok(b"there")
    assert await fetcher().fetch(f"https://images.test:{web.port}/a", "ada") == b"there"
    web.answers["/b"] = moved("https://10.0.0.1/secret")
    with pytest.raises(FetchFailed, match="not public"):
        await fetcher().fetch(f"https://images.test:{web.port}/a", "ada")
    web.answers["/b"] = moved("http://images.test/plain")
    with pytest.raises(FetchFailed, match="not a plain https: URL"):
        await fetcher().fetch(f"https://images.test:{web.port}/a", "ada")


async def test_a_name_that_turns_inward_between_redirects_is_refused(web: Web) -> None:
    web.answers["/a"] = moved(f"https://images.test:{web.port}/b")
    turning = fetcher([HERE], [ipaddress.ip_address("10.0.0.1")])
    with pytest.raises(FetchFailed, match="not public"):
        await turning.fetch(f"https://images.test:{web.port}/a", "ada")
    assert len(web.asked) == 1


async def test_redirects_end(web: Web) -> None:
    web.answers["/a"] = moved("/a")
    with pytest.raises(FetchFailed, match="more than 3 times"):
        await fetcher().fetch(f"https://images.test:{web.port}/a", "ada")
    assert len(web.asked) == 4


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"x" * 1001),
        ok(b"x" * 1001, "connection: close"),
        ok(b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", "transfer-encoding: chunked"),
        ok(b"x", "content-length: 99999999999"),
    ],
)
async def test_bytes_are_bounded_however_they_are_announced(web: Web, answer: bytes) -> None:
    web.answers["/a"] = answer
    with pytest.raises(FetchFailed, match="larger than 1000 bytes"):
        await fetcher().fetch(f"https://images.test:{web.port}/a", "ada")


async def test_time_is_bounded(web: Web) -> None:
    web.answers["/stall"] = ok(b"half", "content-length: 100")
    with pytest.raises(FetchFailed, match=r"within 0\.3 s"):
        await fetcher(timeout_s=0.3).fetch(f"https://images.test:{web.port}/stall", "ada")


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", b"x" * 70_000],
)
async def test_servers_that_make_no_sense(web: Web, answer: bytes) -> None:
    web.answers["/a"] = answer
    with pytest.raises(FetchFailed, match="does not send a valid response"):
        await fetcher().fetch(f"https://images.test:{web.port}/a", "ada")


async def test_other_statuses_are_told(web: Web) -> None:
    with pytest.raises(FetchFailed, match="status 404"):
        await fetcher().fetch(f"https://images.test:{web.port}/none", "ada")


async def test_silent_servers_take_their_own_callers_places_alone(web: Web) -> None:
    web.answers["/stall"] = ok(b"half", "content-length: 100")
    web.answers["/a"] = ok(b"picture")
    one = fetcher(timeout_s=60, width=2)
    stall = f"https://images.test:{web.port}/stall"
    silent = [asyncio.create_task(one.fetch(stall, "mallory")) for _ in range(16)]
    await asyncio.to_thread(wait_for, lambda: web.asked, what="the first request")
    assert await one.fetch(f"https://images.test:{web.port}/a", "ada") == b"picture"
    assert sum("stall" in head for head in web.asked) == 1
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)


async def test_the_time_starts_with_the_place(web: Web) -> None:
    web.answers["/stall"] = ok(b"half", "content-length: 100")
    web.answers["/a"] = ok(b"picture")
    one = fetcher(timeout_s=0.5, width=2)  # one place for each caller
    stall = one.fetch(f"https://images.test:{web.port}/stall", "ada")
    waiting = one.fetch(f"https://images.test:{web.port}/a", "ada")
    failed, picture = await asyncio.gather(stall, waiting, return_exceptions=True)
    assert isinstance(failed, FetchFailed)
    assert picture == b"picture"
