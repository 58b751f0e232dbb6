"""Where the database is: a URL as operators write it, and as SQLAlchemy takes it.

Knows SQLite files and PostgreSQL. No text that this module makes holds a password.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_EXAMPLES = "'postgresql://USER:PASSWORD@HOST:5432/NAME' or 'sqlite:////var/lib/gateway.db'"
_POSTGRESQL = {"postgres", "postgresql", "postgresql+asyncpg"}
_SQLITE = {"sqlite", "sqlite+aiosqlite"}
_PROBED_BYTES = 1 << 20
"""What an empty database and its log take at least."""
_FREE = "free space there, or set `data_directory` to a folder on another disk"
_ALLOW = "make it writable for this user, or set `data_directory` to another folder"
_REMEDIES = {
    **dict.fromkeys(("disk is full", "no space", "quota"), _FREE),
    **dict.fromkeys(("permission", "read-only", "readonly"), _ALLOW),
}
"""Words of the errors of SQLite and of the system → what to do."""


@dataclass(frozen=True, slots=True)
class Location:
    """A database's URL, valid and with the driver that this project uses."""

    url: URL

    @property
    def is_sqlite(self) -> bool:
        """Otherwise it is PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path:
        """The file of a SQLite database."""
        assert self.url.database is not None
        return Path(self.url.database)

    def __str__(self) -> str:
        """For messages: without the password, and for SQLite just the file."""
        if self.is_sqlite:
            return str(self.file)
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)


def at_file(path: Path) -> Location:
    """The SQLite database in this file."""
    return Location(URL.create("sqlite+aiosqlite", database=str(path)))


def parse_location(text: str) -> Location:
    """Raises ValueError, whose text does not hold the URL: it may contain a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"the URL of the database must be like {_EXAMPLES}") from None
    if url.drivername in _SQLITE:
        # a database in memory would be another one for each connection
        if not url.database or url.database == ":memory:":
            raise ValueError("the URL does not name a file: 'sqlite:///' is followed by its path")
        if url.query or url.host:
            raise ValueError("the URL of a SQLite database is 'sqlite:///' and a path")
        return at_file(Path(url.database))
    if url.drivername not in _POSTGRESQL:
        raise ValueError(
            f"'{url.drivername}' is not a database that the gateway supports; the URL must be like"
            f" {_EXAMPLES}"
        )
    if not url.database:
        raise ValueError(f"the URL does not name a database; it must be like {_EXAMPLES}")
    query = dict(url.query)
    if "sslmode" in query:  # libpq's name; asyncpg's is `ssl`, with the same values
        query["ssl"] = query.pop("sslmode")
    return Location(url.set(drivername="postgresql+asyncpg", query=query))


def check_space(location: Location) -> None:
    """Raises OSError if a SQLite database that does not exist cannot be made. Leaves nothing there.

    One that exists can be read on a full disk.
    """
    if not location.is_sqlite or location.file.exists():
        return
    folder = location.file.absolute().parent
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    with tempfile.TemporaryFile(dir=existing) as probe:
        os.posix_fallocate(probe.fileno(), 0, _PROBED_BYTES)


def remedy(reason: str) -> str:
    """What to do about an error of a database's file; empty for other errors."""
    words = reason.lower()
    return next((text for word, text in _REMEDIES.items() if word in words), "")


def locate(url: str | None, folder: Path) -> Location:
    """The database of a URL, or without one, the file `gateway.db` in `folder`.

    Raises ValueError as `parse_location` does.
    """
    return at_file(folder / "gateway.db") if url is None else parse_location(url)
