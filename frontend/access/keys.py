"""Keys of callers, from a file that holds only their digests: `NAME ROLE sha256:HEX` lines.

A key carries 256 random bits, so its SHA-256 is all that needs to be kept, and finding it in a
table by that digest tells nothing by its time. The file is read again when it changes: a key that
was taken out of it stops working within `LOOK_S` seconds.
"""

import enum
import hashlib
import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

LOOK_S = 2.0
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._@-]{1,64}) (?P<role>\w+) sha256:(?P<digest>[0-9a-f]{64})")
_log = logging.getLogger(__name__)


class Role(enum.IntEnum):
    """What a caller may do; each may do what those before it may."""

    PUBLIC = 0
    USER = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is."""

    name: str
    role: Role


ANONYMOUS = Caller("anonymous", Role.USER)
"""Everybody, where no key is asked for."""


class KeyFileError(Exception):
    """The file of keys cannot be used; the text names the line."""


@dataclass(slots=True)
class Keys:
    """The callers of one file, by their key's digest."""

    path: Path
    _callers: dict[bytes, Caller] = field(default_factory=dict)
    _stamp: tuple[int, int] = (0, 0)
    _looked_at_s: float = -1e9

    def find(self, secret: bytes) -> Caller | None:
        """Whose key it is; None for nobody's."""
        if time.monotonic() - self._looked_at_s > LOOK_S:
            self._look()
        return self._callers.get(hashlib.sha256(secret).digest())

    def _look(self) -> None:
        """Reads the file again if it changed; one that cannot be read changes nothing."""
        try:
            self.read()
        except KeyFileError as error:
            _log.error("the keys stay as they were: %s", error)
            self._looked_at_s = time.monotonic()

    def read(self) -> None:
        """Reads the file if it changed. Raises KeyFileError."""
        try:
            about = self.path.stat()
            if (stamp := (about.st_mtime_ns, about.st_size)) != self._stamp:
                self._callers = parse(self.path.read_text())
                self._stamp = stamp
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"{self.path}: {error}") from error
        self._looked_at_s = time.monotonic()


def parse(text: str) -> dict[bytes, Caller]:
    """The callers of a file's text, by digest; empty lines and `#` lines say nothing.

    Raises KeyFileError.
    """
    callers = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        role = found and {"user": Role.USER, "admin": Role.ADMIN}.get(found["role"])
        if not found or not role:  # the line itself could be a secret: it is not shown
            raise KeyFileError(f"line {number} is not 'NAME user|admin sha256:HEX'")
        callers[bytes.fromhex(found["digest"])] = Caller(found["name"], role)
    return callers
