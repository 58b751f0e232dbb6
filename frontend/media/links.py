"""Links to files that answers refer to by URL.

A link holds an unguessable name, the second at which it ends, and a signature over both: what was
not given out is refused before the store is asked for it.
"""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from urllib.parse import parse_qs

from frontend.errors import InvalidRequest, NotFound
from frontend.store.files import FileStore

_SECOND = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Links:
    """`ttl_s` is how long a link lives."""

    files: FileStore
    ttl_s: int

    async def put(self, file: bytes, kind: str) -> str:
        """Keeps a file; returns the end of its link, `NAME.KIND?expires=…&signature=…`.

        Raises InvalidRequest for a file that is larger than the store, and StoreUnavailable while
        the database cannot be reached.
        """
        if len(file) > self.files.max_bytes:
            raise InvalidRequest(
                "the gateway does not store images of this size; use 'b64_json'",
                param="response_format",
            )
        # 192 random bits
        name, expires_s = f"{secrets.token_urlsafe(24)}.{kind}", int(time.time()) + self.ttl_s
        await self.files.put(name, file, f"image/{kind}", expires_s)
        signature = _sign(await self.files.secret(), name, str(expires_s))
        return f"{name}?expires={expires_s}&signature={signature}"

    async def get(self, name: str, query: str) -> tuple[bytes, bytes]:
        """(media type, file) of a link that this gateway made and that has not expired.

        Raises NotFound for any other link, and StoreUnavailable while the database cannot be
        reached.
        """
        given = parse_qs(query[:200])
        expires, signature = (given.get(key, [""])[0] for key in ("expires", "signature"))
        right = _sign(await self.files.secret(), name, expires)
        # as bytes: compare_digest refuses text that is not ASCII
        if not hmac.compare_digest(signature.encode(), right.encode()):
            raise _gone()
        # after the signature, so that only numbers which were written here are compared
        if not _SECOND.fullmatch(expires) or int(expires) <= time.time():
            raise _gone()
        kept = await self.files.get(name)
        if kept is None:
            raise _gone()
        return kept[0].encode(), kept[1]


def _sign(secret: bytes, name: str, expires: str) -> str:
    return hmac.new(secret, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _gone() -> NotFound:
    return NotFound("the file does not exist, or its link has expired", code="file_not_found")
