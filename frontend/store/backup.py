"""Backups: every table at one moment, in a file that fits both SQLite and PostgreSQL.

The file is gzip of JSON lines: a header, then for each table its columns and its rows, and a last
line with the number of rows and the SHA-256 of all lines before. A backup reads in one transaction,
so it is consistent while gateways run; a restore writes in one: it succeeds or changes nothing.
"""

import base64
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import orjson
from sqlalchemy import LargeBinary, Table, delete, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.store.database import Database
from frontend.store.migrate import State, create_tables, current_revision, revisions, state_of
from frontend.store.retention import now_us
from frontend.store.tables import metadata

_FORMAT = "triton-gateway backup 1"
_ROWS = 500
_LARGE_ROWS = 8  # of tables whose rows hold contents of megabytes
_FILLED_BY_GATEWAYS = {"chain_heads", "changes", "gateways", "plans", "prices", "roles", "secrets"}
"""Tables that also a new database may have rows in: they do not count as data."""
_LEFT_OUT = {"sessions"}
"""Tables whose rows are not part of a backup, so that a restore ends every session."""


class BackupError(Exception):
    """The backup cannot be written, read or restored; the text says why."""


async def write_backup(database: Database, path: Path) -> dict[str, int]:
    """Writes a backup that only this user can read; returns the number of rows of each table.

    The file appears when it is complete. Raises BackupError if it cannot be written, and
    StoreUnavailable while the database cannot be reached.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.touch(0o600, exist_ok=False)
        with scratch.open("wb") as file:
            rows = await _write(database, file)
            # before the new name: a power cut must not leave that name on an empty file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            scratch.unlink()
    return rows


def verify_backup(path: Path) -> dict[str, Any]:
    """The header of a complete backup. Raises BackupError if the file cannot be read, is damaged,
    or is not a backup."""
    lines = _lines(path)
    header: dict[str, Any] = next(lines)
    for _ in lines:
        pass
    return header


async def restore_backup(database: Database, path: Path, *, force: bool) -> dict[str, int]:
    """Replaces what the database holds by a backup; returns the number of rows of each table.

    Creates the tables where the database lacks them. Raises BackupError for a file that is not
    whole or of another revision, and without `force` for a database with data; StoreUnavailable.
    """
    header = verify_backup(path)
    if header["revision"] != revisions()[-1]:
        raise BackupError(
            f"{path} has revision {header['revision']}, this release has {revisions()[-1]}: restore"
            " it with the release that made it, then migrate"
        )
    state = state_of(await current_revision(database))
    if state not in (State.EMPTY, State.CURRENT):
        raise BackupError(
            f"{database.location} is of another release; run `triton-gateway migrate`"
        )
    async with database.begin() as connection:
        if state is State.EMPTY:
            await connection.run_sync(create_tables)
        if not force and (table := await _first_with_data(connection)):
            raise BackupError(
                f"{database.location} has rows in '{table}', which would be replaced; pass --force"
            )
        return await _replace(connection, path)


async def _write(database: Database, file: IO[bytes]) -> dict[str, int]:
    digest, rows = hashlib.sha256(), {}
    # mtime: equal contents make equal files
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed:

        def write(value: object) -> None:
            line = orjson.dumps(value) + b"\n"
            digest.update(line)
            packed.write(line)

        revision = await current_revision(database)
        write({"format": _FORMAT, "revision": revision, "created_at_us": now_us()})
        async with database.snapshot() as connection:
            for table in metadata.sorted_tables:
                name = str(table.name)  # SQLAlchemy's names are not quite str
                write({"table": name, "columns": [str(column.name) for column in table.columns]})
                rows[name] = 0
                if name in _LEFT_OUT:
                    continue
                result = await connection.stream(select(table))
                async for group in result.partitions(_group(table)):
                    for row in group:
                        write([*map(_to_json, row)])
                    rows[name] += len(group)
        packed.write(orjson.dumps({"rows": rows, "sha256": digest.hexdigest()}) + b"\n")
    return rows


def _to_json(value: object) -> object:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _lines(path: Path) -> Iterator[Any]:
    """Every line but the last, which is compared with them. Raises BackupError if the file cannot
    be read, is damaged, or is not a backup."""
    digest, rows, table = hashlib.sha256(), dict[str, int](), ""
    try:
        with gzip.open(path) as file:
            for number, line in enumerate(file):
                value = orjson.loads(line)
                match value:
                    case {"rows": kept, "sha256": expected}:
                        if expected != digest.hexdigest() or kept != rows or file.read(1):
                            raise BackupError(f"{path} is damaged: its contents were changed")
                        return
                    case {"table": str(table)}:
                        rows[table] = 0
                    case list():
                        rows[table] += 1
                if number == 0 and (not isinstance(value, dict) or value.get("format") != _FORMAT):
                    raise BackupError(f"{path} is not a backup of `triton-gateway backup`")
                digest.update(line)
                yield value
    except (gzip.BadGzipFile, EOFError, zlib.error, orjson.JSONDecodeError, KeyError) as error:
        raise BackupError(f"{path} is damaged or is not a backup: {error}") from error
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror or error}") from error
    raise BackupError(f"{path} is damaged: its end is missing")


async def _replace(connection: AsyncConnection, path: Path) -> dict[str, int]:
    # in reverse order, for the foreign keys
    for table in reversed(metadata.sorted_tables):
        await connection.execute(delete(table))
    rows = {str(name): 0 for name in metadata.tables}
    for table, group in _groups(path):
        await connection.execute(insert(table), group)
        rows[str(table.name)] += len(group)
    return rows


def _groups(path: Path) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    """The rows of a backup, a few at a time."""
    lines = _lines(path)
    next(lines)
    table, columns, group = metadata.sorted_tables[0], list[str](), list[dict[str, Any]]()
    for line in lines:
        if isinstance(line, list):
            group.append(_from_json(table, dict(zip(columns, line, strict=True))))
        if group and (isinstance(line, dict) or len(group) >= _group(table)):
            yield table, group
            group = []
        if isinstance(line, dict):
            table, columns = metadata.tables[line["table"]], line["columns"]
    if group:
        yield table, group


def _from_json(table: Table, values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no bytes: they are written in base64."""
    for name, value in values.items():
        if isinstance(table.columns[name].type, LargeBinary) and value is not None:
            values[name] = base64.b64decode(value)
    return values


def _group(table: Table) -> int:
    return _LARGE_ROWS if "size_bytes" in table.columns else _ROWS


async def _first_with_data(connection: AsyncConnection) -> str | None:
    """The name of the first table that has data of users."""
    for table in metadata.sorted_tables:
        if table.name not in _FILLED_BY_GATEWAYS:
            row = select(literal(1)).select_from(table).limit(1)
            if (await connection.execute(row)).first():
                return table.name
    return None
