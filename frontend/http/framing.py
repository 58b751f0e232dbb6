"""The head of one HTTP request, the framing of its body, and the limits on their size.

Does not know connections or responses: it raises InvalidRequest, and the protocol responds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from frontend.errors import InvalidRequest
from frontend.http.limits import Limits

_NAMES = frozenset((b"host", b"transfer-encoding", b"content-length"))


@dataclass(slots=True)
class Framing:
    """`in_head` and `in_body`: the part that the client sends now; between requests neither."""

    limits: Limits
    in_head: bool = True
    in_body: bool = False
    partial_bytes: int = 0
    """Received since the last complete header."""
    hosts: tuple[bytes, ...] = ()
    encoding: bytes | None = None
    _length: bytes | None = None
    _headers: int = 0
    _header_bytes: int = 0
    _overhead_bytes: int = 0
    """Of a chunked body: all that is not data."""
    _body_bytes: int = 0

    def begin(self) -> None:
        """The next request starts."""
        self.partial_bytes = self._headers = self._header_bytes = 0
        self._overhead_bytes = self._body_bytes = 0
        self.in_head, self.hosts, self.encoding, self._length = True, (), None, None

    def add_received(self, size: int) -> None:
        """Counts bytes before they are parsed."""
        if not self.in_body:
            self.partial_bytes += size
        elif self.encoding is not None:
            self._overhead_bytes += size

    def add_header(self, name: bytes, value: bytes) -> None:
        """Counts a complete header. Raises InvalidRequest for too many, and for trailers."""
        if not self.in_head:
            # ASGI requests cannot have them, and as a header one could contradict a field that was
            # checked
            raise InvalidRequest("trailer fields are not accepted", param="trailer")
        self.partial_bytes = 0
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self.limits.head_bytes:
            raise self._too_large()
        if self._headers >= self.limits.headers:
            problem = f"the request has more than {self.limits.headers} headers"
            raise InvalidRequest(problem, param="headers")
        self._headers += 1
        if name not in _NAMES:
            return
        if name == b"host":
            self.hosts += (value,)
        elif name == b"transfer-encoding":
            self.encoding = value
        else:
            self._length = value

    def end_head(self) -> None:
        """The body starts; it may be empty."""
        self.in_head, self.in_body, self.partial_bytes = False, True, 0

    def add_body(self, size: int) -> None:
        """Counts data of the body."""
        self._body_bytes += size
        # what is left of the bytes is sizes, extensions and line ends of chunks
        self._overhead_bytes -= size

    def end(self) -> None:
        """The request is complete."""
        self.in_body, self._overhead_bytes = False, 0

    def check(self) -> None:
        """Raises InvalidRequest for bytes that have not become headers or data."""
        if self.partial_bytes > self.limits.head_bytes:
            raise self._too_large()
        # one byte per chunk costs five more; a proportion allows for small chunks of honest clients
        if self._overhead_bytes > self.limits.head_bytes + self._body_bytes:
            raise InvalidRequest(
                "the body's chunks are too small; send larger chunks", param="transfer-encoding"
            )

    def repeated_head(self) -> Iterator[bytes]:
        """A head without an upgrade, whose body is framed in the same way."""
        # llhttp decides about the upgrade by the head, so it must see the same framing without one
        yield b"POST / HTTP/1.1\r\nhost: x\r\n"
        if self.encoding is not None:
            yield b"transfer-encoding: chunked\r\n"
        elif self._length is not None:
            yield b"content-length: " + self._length + b"\r\n"
        yield b"\r\n"

    def _too_large(self) -> InvalidRequest:
        problem = f"the URL or the headers are larger than {self.limits.head_bytes} bytes"
        return InvalidRequest(problem, param="headers")
