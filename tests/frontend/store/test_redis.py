"""Redis over TLS: a private authority is trusted on request, and nothing else is."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from frontend.errors import StoreUnavailable
from frontend.store.redis import SharedCounters
from tests.support.redis import RedisServer

AUTHORITY, STRANGER = trustme.CA(), trustme.CA()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    return file


@asynccontextmanager
async def tls_of(server: RedisServer, name: str, signer: trustme.CA) -> AsyncIterator[str]:
    """A port on which that Redis answers over TLS, with a certificate of `name`; yields the URL."""
    parts = urlsplit(server.url)
    word, socket = f":{parts.password}@", parts.path
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signer.issue_cert(name).configure_cert(context)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                target.write(data)
                await target.drain()
        target.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, out = await asyncio.open_unix_connection(socket)
        await asyncio.gather(copy(reader, out), copy(back, writer))

    async with await asyncio.start_server(answer, "127.0.0.1", ssl=context) as listener:
        yield f"rediss://{word}127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"


async def counted(url: str) -> None:
    counters = SharedCounters(url, timeout_s=20)
    try:
        assert (await counters.run("", [])).epoch
    finally:
        await counters.close()


async def test_an_authority_of_ones_own_is_trusted_when_it_is_named(
    redis_server: RedisServer, authority: Path
) -> None:
    async with tls_of(redis_server, "127.0.0.1", AUTHORITY) as url:
        await counted(f"{url}?ssl_ca_certs={authority}")


@pytest.mark.parametrize(
    ("name", "signer", "is_named"),
    [
        ("127.0.0.1", AUTHORITY, False),
        ("127.0.0.1", STRANGER, True),
        ("elsewhere.example.org", AUTHORITY, True),
    ],
    ids=["authority not named", "another authority", "another host"],
)
async def test_other_certificates_are_refused_without_the_password_in_the_error(
    redis_server: RedisServer, authority: Path, name: str, signer: trustme.CA, is_named: bool
) -> None:
    async with tls_of(redis_server, name, signer) as url:
        with pytest.raises(StoreUnavailable) as caught:
            await counted(f"{url}?ssl_ca_certs={authority}" if is_named else url)
    assert "certificate verify failed" in caught.value.reason
    assert "hunter2" not in caught.value.reason
