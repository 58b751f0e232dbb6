"""Files that answers refer to by URL: kept in memory, in bounds of bytes and time.

A link holds an unguessable name, the second at which it ends, and a signature over both, so what is
not linked cannot be asked for. The oldest files go when there is no room.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from frontend.errors import InvalidRequest, NotFound

_KINDS = {"png": b"image/png", "jpeg": b"image/jpeg", "webp": b"image/webp"}


@dataclass(slots=True)
class Links:
    """Files by name; `ttl_s` is how long a link lives."""

    max_bytes: int
    ttl_s: int
    _files: OrderedDict[str, tuple[int, bytes]] = field(default_factory=OrderedDict)
    _size: int = 0
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def put(self, file: bytes, kind: str) -> str:
        """Keeps a file; returns the end of its link, `NAME.KIND?expires=…&signature=…`.

        Raises InvalidRequest for a file that has no room at all.
        """
        if len(file) > self.max_bytes:
            raise InvalidRequest(
                "the gateway does not store images of this size; use 'b64_json'",
                param="response_format",
            )
        now_s = int(time.time())
        self._forget(now_s, room=len(file))
        name, expires_s = f"{secrets.token_urlsafe(24)}.{kind}", now_s + self.ttl_s
        self._files[name] = (expires_s, file)
        self._size += len(file)
        return f"{name}?expires={expires_s}&signature={self._sign(name, expires_s)}"

    def get(self, name: str, query: str) -> tuple[bytes, bytes]:
        """(media type, file) of a link that was given out and is not over. Raises NotFound."""
        given = parse_qs(query[:200])
        expires, signature = (given.get(key, [""])[0] for key in ("expires", "signature"))
        self._forget(int(time.time()))
        kept = self._files.get(name)
        if kept is None or expires != str(kept[0]):
            raise _gone()
        if not hmac.compare_digest(signature.encode(), self._sign(name, kept[0]).encode()):
            raise _gone()
        return _KINDS[name.rpartition(".")[2]], kept[1]

    def _sign(self, name: str, expires_s: int) -> str:
        return hmac.new(self._key, f"{name}\n{expires_s}".encode(), hashlib.sha256).hexdigest()

    def _forget(self, now_s: int, room: int = 0) -> None:
        """Drops what is over, and the oldest until `room` bytes fit; all have the same lifetime."""
        while self._files:
            name, (expires_s, file) = next(iter(self._files.items()))
            if expires_s > now_s and self._size + room <= self.max_bytes:
                return
            del self._files[name]
            self._size -= len(file)


def _gone() -> NotFound:
    return NotFound("the file does not exist, or its link has expired", code="file_not_found")
