"""Stores images and files of audited requests once each, in files named by their SHA-256.

Content that is larger than a line of text leaves the JSON of a request and is replaced by
`{"sha256": …}`. Everything here blocks, so it runs in threads.
"""

import base64
import binascii
import enum
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

_DATA = re.compile(r"data:([\w.+/-]{1,100})?(?:;[\w=.+-]{1,100})*;base64,(.*)", re.DOTALL)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{256,}={0,2}\s*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Removal(enum.Enum):
    """The result of removing an artifact."""

    REMOVED = "removed"
    MISSING = "missing"
    WAITING = "waiting"
    """It is removed once its place can be reached."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """A folder. Only this user can read its files."""

    folder: Path

    @staticmethod
    def is_digest(name: str) -> bool:
        """Whether a text is a SHA-256 in hex."""
        return _DIGEST.fullmatch(name) is not None

    def path(self, digest: str) -> Path:
        """The path of an artifact. Raises ValueError for a name that is not a digest."""
        if not self.is_digest(digest):
            raise ValueError(digest)
        return self.folder / digest[:2] / digest

    def keep(self, content: bytes) -> str:
        """Stores a content, unless it exists; returns its SHA-256. Raises OSError if it cannot be
        written."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.path(digest)
        if path.exists():
            # a purge must not remove it as something from long ago
            path.touch()
            return digest
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{digest}.{os.getpid()}.part")
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
            file.write(content)
        part.replace(path)
        return digest

    def read(self, digest: str) -> bytes | None:
        """Reads a content; None if it does not exist."""
        try:
            return self.path(digest).read_bytes()
        except (ValueError, FileNotFoundError):
            return None

    def remove(self, digest: str) -> Removal:
        """Removes a content, if it exists."""
        try:
            self.path(digest).unlink()
        except FileNotFoundError:
            return Removal.MISSING
        return Removal.REMOVED


@dataclass(slots=True)
class Extraction:
    """Takes large contents out of JSON. `kept` has digest, media type and size of each."""

    artifacts: Artifacts
    kept: dict[str, tuple[str, str, int]] = field(default_factory=dict)

    def keep(self, media_type: str, content: bytes) -> str:
        """Stores one content; returns its SHA-256. Raises OSError if it cannot be written."""
        digest = self.artifacts.keep(content)
        self.kept.setdefault(digest, (digest, media_type, len(content)))
        return digest

    def strip(self, body: bytes) -> str:
        """A body with digests in place of contents; what is not JSON becomes a JSON string."""
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            value = body.decode("utf-8", "replace")
        return orjson.dumps(self._walk(value)).decode()

    def _walk(self, value: Any) -> Any:
        # the depth of bodies is bounded when they are read
        if isinstance(value, dict):
            return {name: self._walk(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._walk(one) for one in value]
        return self._replaced(value) if isinstance(value, str) else value

    def _replaced(self, value: str) -> Any:
        media_type, text = "application/octet-stream", value
        if value.startswith("data:"):
            if (match := _DATA.fullmatch(value)) is None:
                return value
            media_type, text = match[1] or "text/plain", match[2]
        elif not _BASE64.fullmatch(value):
            return value
        try:
            content = base64.b64decode(text, validate=False)
        except binascii.Error:
            return value
        return {"sha256": self.keep(media_type, content), "media_type": media_type}


def texts_of(value: Any) -> list[str]:
    """Every string in a value, also the keys' values of nested objects."""
    found: list[str] = []
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            pending += reversed(one.values())
        elif isinstance(one, list):
            pending += reversed(one)
    return found
