"""Keys of callers, from a file that holds only their digests: `NAME ROLE sha256:HEX` lines.

This module has the only parser of such lines. The file is read again when it changes: a key that
was removed stops working within `CHECK_S`. A caller's id follows from the key, so a new key under
an old name belongs to a new caller.
"""

import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from frontend.accounts.credentials import Credential, public_id_of
from frontend.accounts.roles import FILE_ROLES
from frontend.domain.identity import ANONYMOUS, Caller

CHECK_S = 2.0
NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_log = logging.getLogger(__name__)


class KeyFileError(Exception):
    """The key file cannot be used; the text has the file and the line."""


@dataclass(frozen=True, slots=True)
class Key:
    """One line: the owner's name and role, and the digest of the key."""

    name: str
    role: str
    digest: bytes

    def line(self) -> str:
        """The line in the file."""
        return f"{self.name} {self.role} sha256:{self.digest.hex()}"

    @property
    def caller(self) -> Caller:
        """The owner."""
        return Caller(self.user, self.name, FILE_ROLES[self.role], public_id_of(self.digest))

    @property
    def user(self) -> str:
        """The owner's id."""
        return f"file-{public_id_of(self.digest)}"


def read_lines(path: Path) -> list[tuple[str, Key | None]]:
    """Each line of the file with its key; None for comments and empty lines.

    Raises KeyFileError for a file that cannot be read and for the first invalid line.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: {error}") from error
    lines: list[tuple[str, Key | None]] = []
    lines_of: dict[bytes, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key = None
        if line.strip() and not line.startswith("#"):
            try:
                key = parse_line(line)
            except ValueError as error:
                raise KeyFileError(f"{path}:{number}: {error}") from None
            if (first := lines_of.setdefault(key.digest, number)) != number:
                raise KeyFileError(f"{path}:{number}: the key is the same as in line {first}")
        lines.append((line, key))
    return lines


def parse_line(line: str) -> Key:
    """Raises ValueError, whose text never contains the line: it could hold a secret."""
    parts = line.split(" ")
    if len(parts) != 3:
        raise ValueError("expected 'NAME ROLE sha256:HEX', separated by single spaces")
    name, role, digest = parts
    check_name(name)
    if role not in FILE_ROLES:
        raise ValueError(f"the role must be one of {', '.join(FILE_ROLES)}")
    if not _DIGEST.fullmatch(digest):
        raise ValueError("the digest must be 'sha256:' and 64 lowercase hexadecimal digits")
    return Key(name, role, bytes.fromhex(digest.removeprefix("sha256:")))


def check_name(name: str) -> None:
    """Raises ValueError for a name that is not valid for a key."""
    if not NAME.fullmatch(name):
        raise ValueError("the name must be 1 to 64 letters, digits or any of . _ @ -")
    if name == ANONYMOUS.name:
        raise ValueError(f"the name '{name}' is reserved for callers without a key")


@dataclass(slots=True)
class Keys:
    """The callers of one file, by the digests of their keys."""

    path: Path
    _callers: dict[bytes, Caller] = field(default_factory=dict)
    _version: tuple[int, int] = (0, 0)
    _checked_at_s: float = -1e9

    def find(self, credential: Credential) -> Caller | None:
        """The owner of the key; None when there is none."""
        if time.monotonic() - self._checked_at_s > CHECK_S:
            self._check()
        return self._callers.get(credential.digest)

    def _check(self) -> None:
        """Reads the file again if it changed; an invalid file changes nothing."""
        try:
            self.read()
        except KeyFileError as error:
            _log.error("the key file is invalid, the previous keys stay in use: %s", error)
            self._checked_at_s = time.monotonic()

    def read(self) -> None:
        """Reads the file if it changed. Raises KeyFileError if it cannot be read or has an invalid
        line."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise KeyFileError(f"{self.path}: {error}") from error
        # the size as well: two changes may fall into one step of the file system's clock
        if (version := (status.st_mtime_ns, status.st_size)) != self._version:
            keys = [key for _, key in read_lines(self.path) if key is not None]
            self._callers = {key.digest: key.caller for key in keys}
            self._version = version
        self._checked_at_s = time.monotonic()
