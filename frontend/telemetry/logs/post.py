"""One HTTP POST from a thread, with bounds on its time and on its answer. Redirects are refused."""

import http.client
import ssl
import time
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
        """The status and the body of the answer. Raises Away."""
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
        ends_s = time.monotonic() + self.timeout_s
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
        try:
            connection.request("POST", target, body=body, headers=headers)
            socket = connection.sock
            response = connection.getresponse()
            answer = bytearray()
            while chunk := response.read1(_CHUNK):
                answer += chunk
                left_s = ends_s - time.monotonic()
                if len(answer) > _MAX_ANSWER:
                    raise ValueError("too long")
                if left_s <= 0:
                    raise TimeoutError
                if socket is not None:
                    socket.settimeout(left_s)
            return response.status, bytes(answer)
        finally:
            connection.close()
