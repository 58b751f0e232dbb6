"""Fetches a file from an untrusted web server.

The host's name is resolved once and the connection goes to that very address; certificate and
`host` header keep the name. Redirects are checked like first URLs. Bytes, redirects and time are
bounded. No proxy, no cookies, no compression.
"""

import asyncio
import ipaddress
import ssl
from dataclasses import dataclass, field

import h11

from frontend.address import Address, BadAddress, Location, Network, is_allowed, parse_url
from frontend.reach import Resolve, resolve
from frontend.turns import Turns

_REDIRECTS = 3
_CHUNK = 65_536
_MAX_HEAD = 32_768
_MAX_WAITING = 2048
_AGENT = "triton-toolkit"


class FetchFailed(Exception):
    """Says why there is no file; meant for callers, so it reveals nothing about the network."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """`networks` may be reached besides public addresses; at most `width` fetches run at once, and
    half of them for one caller. Their time starts when they do."""

    max_bytes: int
    timeout_s: float
    networks: tuple[Network, ...] = ()
    width: int = 16
    resolve: Resolve = resolve
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    _turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_turns", Turns(self.width, _MAX_WAITING))

    async def fetch(self, url: str, caller: str) -> bytes:
        """The file. Raises FetchFailed if the URL cannot be fetched, and GatewayError if too many
        wait."""
        try:
            location = parse_url(url)
            async with self._turns.taken(caller), asyncio.timeout(self.timeout_s):
                return await self._follow(location)
        except BadAddress as error:
            raise FetchFailed(str(error)) from None
        except TimeoutError:
            raise FetchFailed(f"did not arrive within {self.timeout_s:g} s") from None
        except (OSError, h11.ProtocolError, asyncio.IncompleteReadError):
            raise FetchFailed(
                "cannot be fetched: its server does not send a valid response"
            ) from None

    async def _follow(self, location: Location) -> bytes:
        for _ in range(_REDIRECTS + 1):
            answer = await self._get(location)
            if isinstance(answer, bytes):
                return answer
            location = answer
        raise FetchFailed(f"is redirected more than {_REDIRECTS} times")

    async def _get(self, location: Location) -> bytes | Location:
        """The file, or where it is instead."""
        address = await self._address(location)
        reader, writer = await asyncio.open_connection(
            str(address), location.port, ssl=self.tls, server_hostname=location.host
        )
        try:
            return await _Exchange(reader, writer, location, self.max_bytes).run()
        finally:
            writer.transport.abort()  # a server that does not close its side is not waited for

    async def _address(self, location: Location) -> Address:
        try:
            addresses: list[Address] = [ipaddress.ip_address(location.host)]
        except ValueError:
            addresses = await self.resolve(location.host, location.port)
        # all of them: a name with one private address is an attack, or a fault of its owner's
        if not addresses or not all(is_allowed(each, self.networks) for each in addresses):
            raise FetchFailed("is at an address that is not public")
        # connected to as it was checked: a second look-up could answer differently (DNS rebinding)
        return addresses[0]


class _Exchange:
    """One request and its response on a connection of its own."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        location: Location,
        max_bytes: int,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._location = location
        self._max_bytes = max_bytes
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)

    async def run(self) -> bytes | Location:
        headers = [
            ("host", self._location.authority),
            ("user-agent", _AGENT),
            ("accept", "image/png, image/jpeg, image/webp, image/gif"),
            # what is compressed unfolds beyond the bound
            ("accept-encoding", "identity"),
            ("connection", "close"),
        ]
        request = h11.Request(method="GET", target=self._location.target, headers=headers)
        self._writer.write(self._http.send(request) + self._http.send(h11.EndOfMessage()))
        response = await self._event()
        while isinstance(response, h11.InformationalResponse):
            response = await self._event()
        if not isinstance(response, h11.Response):
            raise h11.RemoteProtocolError("no response")
        known = {name: value.decode("latin-1") for name, value in response.headers}
        if response.status_code in (301, 302, 303, 307, 308) and b"location" in known:
            return self._location.follow(known[b"location"])
        if response.status_code != 200:
            # before any of it is read
            raise FetchFailed(
                f"cannot be fetched: its server responds with status {response.status_code}"
            )
        if known.get(b"content-length", "0").isdecimal():
            self._check(int(known.get(b"content-length", "0")))
        return await self._body()

    async def _body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while isinstance(event := await self._event(), h11.Data):
            size += len(event.data)
            self._check(size)
            parts.append(bytes(event.data))
        return b"".join(parts)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise FetchFailed(f"is larger than {self._max_bytes} bytes")

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_CHUNK))
        return event
