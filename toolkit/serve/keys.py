"""The file of callers' keys that a gateway reads: `NAME ROLE sha256:HEX` lines, no secrets.

A secret is told once, when it is made; the file holds its SHA-256, which is enough for 256 random
bits. Comments and the order of lines stay as people wrote them.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ServeError

ROLES = ("user", "admin")
PREFIX = "tk-"
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


@dataclass(frozen=True, slots=True)
class Key:
    """Whose key it is; `digest` is `sha256:HEX`."""

    name: str
    role: str
    digest: str


def read_keys(path: Path) -> list[Key]:
    """The keys of a file, in its order. Raises ServeError, which names the line."""
    return [key for _, key in _lines(path) if key is not None]


def add_key(path: Path, name: str, role: str) -> str:
    """Adds a key and returns its secret, which nobody can tell again. Raises ServeError."""
    if not _NAME.fullmatch(name):
        raise ServeError(
            f"'{name}' cannot name a key", hint="up to 64 letters, digits, and any of . _ @ -"
        )
    if role not in ROLES:
        raise ServeError(f"there is no role '{role}'", hint=f"one of {', '.join(ROLES)}")
    lines = _lines(path) if path.exists() else []
    if any(key is not None and key.name == name for _, key in lines):
        raise ServeError(
            f"{path} has a key named '{name}'", hint=f"toolkit keys remove {name} takes it back"
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    _write(path, [*(line for line, _ in lines), f"{name} {role} sha256:{digest}"])
    return secret


def remove_key(path: Path, name: str) -> None:
    """Takes a key back. Raises ServeError when there is none of that name."""
    lines = _lines(path)
    kept = [line for line, key in lines if key is None or key.name != name]
    if len(kept) == len(lines):
        raise ServeError(f"{path} has no key named '{name}'", hint="toolkit keys list shows them")
    _write(path, kept)


def _lines(path: Path) -> list[tuple[str, Key | None]]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ServeError(f"{path}: {error}", hint="toolkit keys add makes one") from error
    found: list[tuple[str, Key | None]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            found.append((line, None))
            continue
        parts = line.split()
        if len(parts) != 3 or parts[1] not in ROLES or not parts[2].startswith("sha256:"):
            raise ServeError(
                f"{path}, line {number} is not 'NAME user|admin sha256:HEX'",
                hint="toolkit keys add writes such lines",
            )
        found.append((line, Key(*parts)))
    return found


def _write(path: Path, lines: list[str]) -> None:
    scratch = path.with_name(f".{path.name}.new")
    scratch.touch(0o600)
    scratch.write_text("".join(f"{line}\n" for line in lines))
    scratch.replace(path)
