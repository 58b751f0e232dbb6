"""One HTTP POST from a thread, with bounds on its time and on its answer. Redirects are refused."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_MAX_ANSWER = 8 * 2**20
_CHUNK = 65_536


class Away(Exception):
    """A sink does not take lines now; says why, without any text of the sink's."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a sink is. `headers` have its token, so they are never shown."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout_s: float = 10.0
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def post(self, body: bytes, content_type: str) -> tuple[int, bytes]:
        """The status and the body of the answer. Raises Away if no valid answer comes in time."""
        try:
            return self._post(body, content_type)
        except TimeoutError:
            raise Away(f"no answer within {self.timeout_s:g} s") from None
        except OSError as error:
            raise Away(error.strerror or type(error).__name__) from None
        except (http.client.HTTPException, ValueError) as error:
            # its text may be what the server sent
            raise Away(f"an invalid answer ({type(error).__name__})") from None

    def _post(self, body: bytes, content_type: str) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            tls = self.tls or ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, parts.port, timeout=self.timeout_s, context=tls
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=self.timeout_s)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {**self.headers, "content-type": content_type, "connection": "close"}
        late = threading.Event()
        try:
            connection.connect()
            # the time-out of a socket begins again with each byte
            timer = threading.Timer(self.timeout_s, _cut, [connection.sock, late])
            timer.start()
            try:
                connection.request("POST", target, body=body, headers=headers)
                status, answer = _read(connection.getresponse())
            except (OSError, http.client.HTTPException):
                if late.is_set():
                    raise TimeoutError from None
                raise
            finally:
                timer.cancel()
            if late.is_set():
                raise TimeoutError
            return status, answer
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse) -> tuple[int, bytes]:
    answer = bytearray()
    while chunk := response.read1(_CHUNK):
        answer += chunk
        if len(answer) > _MAX_ANSWER:
            raise ValueError("too long")
    return response.status, bytes(answer)


def _cut(connected: socket.socket, late: threading.Event) -> None:
    """Ends what waits for the other side."""
    late.set()
    with contextlib.suppress(OSError):
        # not that of TLS, which the thread that reads still uses
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
