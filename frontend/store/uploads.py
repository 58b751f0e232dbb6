"""Uploaded files: what is known of them in the database, their bytes in a folder beside it.

Everybody sees only their own, whose bytes have a bound. A file that is being received has another
name; `sweep` removes it when nobody can be writing it any more.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select, update

from frontend.domain.batches import Upload
from frontend.errors import TooLarge
from frontend.store.database import Database
from frontend.store.tables import uploads

_MICRO = 1_000_000
PART = ".part"
"""What ends the name of a file that is being received."""
_LEFTOVER_S = 3600
"""How long nobody has written a file that is not whole and never will be."""


class UploadStore:
    """`max_bytes` is how much one owner may have."""

    def __init__(self, database: Database, folder: Path, max_bytes: int) -> None:
        self._database = database
        self.folder = folder
        self.max_bytes = max_bytes

    def path(self, file_id: str) -> Path:
        """Where the bytes of a file are. Only ids of rows are used here."""
        return self.folder / file_id

    def open_new(self, file_id: str) -> int:
        """A descriptor of a file that only this user can read. Raises OSError if it cannot be
        created."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        return os.open(self.path(file_id), flags, 0o600)

    def receive(self, file_id: str) -> int:
        """A descriptor for a file that is not listed before `finish`. Raises OSError if it cannot
        be created."""
        return self.open_new(file_id + PART)

    def finish(self, file_id: str) -> None:
        """The file is whole."""
        self.path(file_id + PART).replace(self.path(file_id))

    def forget(self, file_id: str) -> None:
        """The file is not kept."""
        for name in (file_id + PART, file_id):
            self.path(name).unlink(missing_ok=True)

    @property
    def lock(self) -> Path:
        """The file whose lock one of all processes holds that use this folder and database."""
        digest = hashlib.sha256(str(self._database.location).encode()).hexdigest()
        return self.folder / f".runner-{digest[:16]}"

    async def used_bytes(self, owner: str) -> int:
        """Bytes of all files of an owner."""
        total = select(func.coalesce(func.sum(uploads.c.size_bytes), 0))
        async with self._database.connect() as connection:
            found = await connection.execute(total.where(uploads.c.owner_id == owner))
            return int(found.scalar_one())

    async def add(self, upload: Upload, *, bounded: bool = True) -> None:
        """Makes a file known. Raises TooLarge where its owner has too many bytes then."""
        row = {
            "id": upload.id,
            "owner_id": upload.owner,
            "name": upload.name,
            "purpose": upload.purpose,
            "size_bytes": upload.size_bytes,
            "created_at_us": upload.created_s * _MICRO,
            "expires_at_us": None if upload.expires_s is None else upload.expires_s * _MICRO,
        }
        total = select(func.coalesce(func.sum(uploads.c.size_bytes), 0))
        async with self._database.begin() as connection:
            if bounded:
                found = await connection.execute(total.where(uploads.c.owner_id == upload.owner))
                if int(found.scalar_one()) + upload.size_bytes > self.max_bytes:
                    raise too_many_bytes(self.max_bytes)
            await connection.execute(delete(uploads).where(uploads.c.id == upload.id))
            await connection.execute(insert(uploads).values(row))

    async def get(self, owner: str, file_id: str) -> Upload | None:
        """None where there is none, or it belongs to somebody else, or has expired."""
        query = select(uploads).where(_kept(), uploads.c.owner_id == owner, uploads.c.id == file_id)
        async with self._database.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _upload(row)

    async def list(
        self, owner: str, purpose: str | None, after: str | None, limit: int, *, ascending: bool
    ) -> list[Upload]:
        """Up to `limit` files in the order of their creation, beyond the file `after`."""
        query = select(uploads).where(_kept(), uploads.c.owner_id == owner)
        if purpose is not None:
            query = query.where(uploads.c.purpose == purpose)
        if after is not None:
            query = query.where(uploads.c.id > after if ascending else uploads.c.id < after)
        query = query.order_by(uploads.c.id if ascending else uploads.c.id.desc()).limit(limit)
        async with self._database.connect() as connection:
            return [_upload(row) for row in await connection.execute(query)]

    async def delete(self, owner: str, file_id: str) -> bool:
        """Whether it was there."""
        gone = delete(uploads).where(_kept(), uploads.c.owner_id == owner, uploads.c.id == file_id)
        async with self._database.begin() as connection:
            found = (await connection.execute(gone)).rowcount > 0
        if found:
            await asyncio.to_thread(self.forget, file_id)
        return found

    async def keep(self, file_id: str) -> None:
        """A batch needs the file, so it does not expire before the batch has finished."""
        async with self._database.begin() as connection:
            forever = update(uploads).where(uploads.c.id == file_id).values(expires_at_us=None)
            await connection.execute(forever)

    async def sweep(self) -> None:
        """Removes what has expired, and files that will never be whole."""
        async with self._database.begin() as connection:
            expired = (
                (await connection.execute(select(uploads.c.id).where(~_kept()))).scalars().all()
            )
            await connection.execute(delete(uploads).where(uploads.c.id.in_(expired)))
        await asyncio.to_thread(self._remove, expired)

    def _remove(self, expired: Iterable[str]) -> None:
        for name in expired:
            self.forget(name)
        before = time.time() - _LEFTOVER_S
        for path in self.folder.glob(f"*{PART}"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)


def too_many_bytes(most: int) -> TooLarge:
    """The error for an owner whose files have too many bytes."""
    return TooLarge(
        f"your files would have more than {most} bytes in all; delete some (DELETE /v1/files/ID)",
        param="file",
        code="storage_limit_exceeded",
    )


def _kept() -> ColumnElement[bool]:
    now_us = time.time_ns() // 1000
    return or_(uploads.c.expires_at_us.is_(None), uploads.c.expires_at_us > now_us)


def _upload(row: Row[tuple[object, ...]]) -> Upload:
    expires = None if row.expires_at_us is None else row.expires_at_us // _MICRO
    created = row.created_at_us // _MICRO
    return Upload(row.id, row.owner_id, row.name, row.purpose, row.size_bytes, created, expires)
