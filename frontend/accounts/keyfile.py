"""Adds keys to a key file and removes them. Comments and the order of lines stay as they are.

A key is shown once, when it is made: the file contains only its digest.
"""

import os
import secrets
import stat
from pathlib import Path

from frontend.accounts.credentials import digest_of
from frontend.accounts.keys import Key, KeyFileError, check_name, read_lines

PREFIX = "tk-"


def list_keys(path: Path) -> list[Key]:
    """The keys of a file, in order. Raises KeyFileError if it cannot be read or has an invalid
    line."""
    return [key for _, key in read_lines(path) if key is not None]


def add_key(path: Path, name: str, role: str) -> str:
    """Adds a key and returns it. Raises KeyFileError if the name is invalid or in use, or the file
    cannot be read or written."""
    try:
        check_name(name)
    except ValueError as error:
        raise KeyFileError(str(error)) from None
    lines = read_lines(path) if path.exists() else []
    if any(key is not None and key.name == name for _, key in lines):
        raise KeyFileError(f"{path} already has a key with the name '{name}'")
    secret = PREFIX + secrets.token_urlsafe(32)
    added = Key(name, role, digest_of(secret.encode()))
    _write(path, [*(line for line, _ in lines), added.line()])
    return secret


def remove_key(path: Path, name: str) -> None:
    """Removes every key with this name. Raises KeyFileError when there is none."""
    lines = read_lines(path)
    kept = [line for line, key in lines if key is None or key.name != name]
    if len(kept) == len(lines):
        raise KeyFileError(f"{path} has no key with the name '{name[:64]}'")
    _write(path, kept)


def _write(path: Path, lines: list[str]) -> None:
    """At once: a gateway that reads the file meanwhile sees all of it or none."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        # left by a process that was killed
        scratch.unlink(missing_ok=True)
        # the mode before the content, so that the content is private from its first byte
        scratch.touch(0o600)
        scratch.write_text("".join(f"{line}\n" for line in lines))
        if path.exists():
            _make_alike(scratch, path.stat())
        scratch.replace(path)
    except OSError as error:
        raise KeyFileError(f"{path}: {error}") from error


def _make_alike(scratch: Path, old: os.stat_result) -> None:
    """The owner and the mode of the file that it replaces: a gateway of another user reads it."""
    new = scratch.stat()
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.chown(scratch, old.st_uid, old.st_gid)
    # afterwards, since a change of the owner may clear bits of the mode
    scratch.chmod(stat.S_IMODE(old.st_mode))
