"""No URL that a caller gives leads the gateway to an inner address, whatever it is spelled as.

Registered upstreams and images are where callers give URLs. A server on every address of this
machine counts the connections that should never come.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import httpx2
import pytest

from frontend.address import Address, parse_server
from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Message
from frontend.errors import GatewayError, UpstreamLost
from frontend.reach import Reach
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.upstreams import resolver
from frontend.upstreams.openai.client import OpenAi
from frontend.upstreams.protocol import Call
from frontend.upstreams.web import Web
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.events import MODEL
from tests.support.gateway import run_gateway
from tests.support.processes import wait_for

HOSTS = (
    # plain
    *("127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.1.2.3"),  # noqa: S104
    *("10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.0.1", "100.64.0.1", "198.18.0.1"),
    *("169.254.169.254", "169.254.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1"),
    *("198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.250"),
    *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
    # in other bases, and with parts left out
    *("2130706433", "017700000001", "0x7f000001", "0x7F.0.0.1", "0177.0.0.1", "0177.0.0.01"),
    *("127.1", "127.0.1", "127.0.0.0x1", "0x7f.1", "127.0.0.1.", "127.0.0.01", "00127.0.0.1"),
    *("0", "00", "0x0", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"),
    *("4294967297", "127.0.0.1.1", "1.2.3.256", "0x100000000", "-1", "127.0.0.1%00"),
    # IPv6, also with an IPv4 address in it
    *("[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]"),
    *("[::ffff:7f00:1]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]"),
    *("[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]"),
    *("[2002:a9fe:a9fe::]", "[2001:0:7f00:1::]", "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]"),
    *("[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]"),
    *("[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[3fff::1]", "[5f00::1]", "[::1", "::1"),
    # names, and what looks like one
    *("localhost", "LOCALHOST", "localhost.", "localhost..", "loc%61lhost", "lоcalhost"),
    *("printer.local", "gateway.internal", "host.docker.internal", "ⓛocalhost", "localhost\u3002"),
    *("１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.1\u200b", "xn--.localhost"),
    # a user, a second host, and characters that parsers read differently
    *("user@127.0.0.1", "user:pass@127.0.0.1", "example.org@127.0.0.1", "127.0.0.1@example.org"),
    *("example.org:80@127.0.0.1", "example.org\\@127.0.0.1", "127.0.0.1\\@example.org"),
    *("example.org#@127.0.0.1", "127.0.0.1#", "example.org?@127.0.0.1", "127.0.0.1?x="),
    *("127.0.0.1\t", " 127.0.0.1", "127.0.0.1\r\nhost: x", "127.0.0.1\0.example.org", "a b", ""),
)  # fmt: skip
PLACES = {
    "triton": "{host}:{port}",
    "triton with a scheme": "grpc://{host}:{port}",
    "vllm": "http://{host}:{port}",
    "openai": "https://{host}:{port}/v1",
    "ollama": "http://{host}:{port}/",
    "anthropic": "http://{host}:{port}",
    "image": "https://{host}:{port}/picture.png",
}
OTHERS = (
    *("http://127.0.0.1:0", "http://127.0.0.1:65536", "http://127.0.0.1:-1", "http://127.0.0.1:"),
    *("ftp://127.0.0.1", "file:///etc/passwd", "gopher://127.0.0.1", "unix:///x", "//127.0.0.1"),
    *("http:127.0.0.1", "http:///127.0.0.1", "http://", "dns:///127.0.0.1:80", "data:text/plain,x"),
    *("http://127.0.0.1:80:80", "http://[::1]:80:80", "HTTP://127.0.0.1", "javascript:x"),
)  # fmt: skip


@dataclass
class Alarm:
    """Counts connections to every address of this machine."""

    port: int = 0
    connections: list[str] = field(default_factory=list)


@contextmanager
def alarm() -> Iterator[Alarm]:
    found = Alarm()
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        found.port = server.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    client, address = server.accept()
                except OSError:
                    return
                client.close()
                found.connections.append(str(address))

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@dataclass
class Site:
    api: httpx2.Client
    alarm: Alarm

    def give(self, place: str, url: str) -> httpx2.Response:
        """A caller gives a URL: as an upstream of an engine, or in a message."""
        if place == "image":
            part = {"type": "image_url", "image_url": {"url": url}}
            messages = [{"role": "user", "content": [part]}]
            return self.api.post(
                "/v1/chat/completions", json={"model": "echo", "messages": messages}
            )
        body = {"name": "inner", "url": url, "engine": place.partition(" ")[0]}
        return self.api.post("/admin/backends/register", json=body)

    def refuses(self, place: str, url: str) -> str | None:
        """None where it does, else what it did."""
        answer = self.give(place, url)
        error = answer.json().get("error", {})
        param = "messages[0].content[0].image_url.url" if place == "image" else "url"
        if (answer.status_code, error.get("param")) == (400, param):
            return None
        return f"{place} {url!r}: {answer.status_code} {answer.text[:200]}"


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    location = databases.sqlite()
    key = asyncio.run(_admin(location))
    log = tmp_path_factory.mktemp("inner") / "log"
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    flags += ["--max-refused-per-minute", "1000000"]
    headers = {"authorization": f"Bearer {key}"}
    with (
        alarm() as rings,
        run_gateway(echo_triton.grpc_address, log, *flags) as gateway,
        httpx2.Client(base_url=gateway.url, headers=headers, timeout=60) as api,
    ):
        yield Site(api, rings)


async def _admin(location: Location) -> str:
    database = Database(location)
    directory = await opened(database)
    _, key = await add(directory, "chief", "admin")
    await database.close()
    return key


def test_the_alarm_counts_connections() -> None:
    with alarm() as rings:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, rings.port)):
                pass
        wait_for(lambda: len(rings.connections) == 2, what="both connections")


@pytest.mark.parametrize("place", PLACES)
def test_an_inner_address_is_refused_in_every_spelling(site: Site, place: str) -> None:
    assert len(set(HOSTS)) >= 60
    urls = [PLACES[place].format(host=host, port=site.alarm.port) for host in HOSTS]
    wrong = [said for url in [*urls, *OTHERS] if (said := site.refuses(place, url)) is not None]
    assert wrong == []
    assert site.alarm.connections == []
    listed = site.api.get("/admin/backends").json()["data"]
    assert "inner" not in {one["name"] for one in listed}


def test_no_other_field_of_a_request_is_a_url_that_is_fetched(site: Site) -> None:
    """Fields by which other gateways let callers choose the server."""
    url = f"http://127.0.0.1:{site.alarm.port}"
    for name in ("api_base", "base_url", "url", "webhook", "callback_url", "webhook_url", "proxy"):
        body: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "a"}]}
        assert site.api.post("/v1/chat/completions", json={**body, name: url}).status_code < 500
    schema = {"type": "object", "$ref": f"{url}/schema.json"}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    refused = site.api.post("/v1/chat/completions", json={**body, "response_format": form})
    assert refused.status_code == 400
    assert site.alarm.connections == []


CALL = Call("ada/id", 20)
TALK = Generation(Conversation((Message("user", "hello"),)))
LIST = b'{"data": [{"id": "m"}]}'


async def _ask(one: OpenAi, what: str) -> None:
    if what == "poll":
        await one.models()
        return
    async for _ in one.generate(MODEL, TALK, CALL):
        pass


@pytest.mark.parametrize("what", ["poll", "request"])
async def test_a_name_that_turns_inward_later_is_not_followed(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name led to an allowed server when it was registered and polled."""
    with alarm() as rings:
        answers: list[Address] = [ip_address("127.0.0.9")]

        async def resolve(host: str, port: int) -> list[Address]:
            return answers

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(LIST)}\r\nconnection: close\r\n\r\n"
            writer.write(head.encode() + LIST)
            writer.close()

        monkeypatch.setattr(resolver, "resolve", resolve)
        server = await asyncio.start_server(answer, "127.0.0.9", 0)
        port = server.sockets[0].getsockname()[1]
        reach = Reach((ip_network("127.0.0.9/32"),))
        one = OpenAi(Web(parse_server(f"http://rebind.example:{port}"), {}, reach.allows), "openai")
        assert [model.name for model in await one.models()] == ["m"]
        for inner in (["127.0.0.1"], ["127.0.0.9", "127.0.0.1"], ["::1"], ["169.254.169.254"], []):
            answers = [ip_address(each) for each in inner]
            one.web.server = parse_server(f"http://rebind.example:{rings.port}")
            with pytest.raises(UpstreamLost, match="not allowed"):
                await _ask(one, what)
        await one.close()
        server.close()
        await server.wait_closed()
        assert rings.connections == []


@pytest.mark.parametrize("what", ["poll", "request"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_an_upstream_is_not_followed(what: str, status: int) -> None:
    with alarm() as rings:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            to = f"http://127.0.0.1:{rings.port}/latest/meta-data"
            head = f"HTTP/1.1 {status} Moved\r\nlocation: {to}\r\ncontent-length: 0\r\n"
            writer.write(f"{head}connection: close\r\n\r\n".encode())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.9", 0)
        port = server.sockets[0].getsockname()[1]
        reach = Reach((ip_network("127.0.0.9/32"),))
        one = OpenAi(Web(parse_server(f"http://127.0.0.9:{port}"), {}, reach.allows), "openai")
        with pytest.raises(
            GatewayError, match="redirects requests, which the gateway does not follow"
        ):
            await _ask(one, what)
        await one.close()
        server.close()
        await server.wait_closed()
        assert rings.connections == []
