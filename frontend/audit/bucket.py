"""Stores artifacts in a bucket; they are kept in the folder until the bucket has them.

So requests never wait for the bucket: while it cannot be reached, records are written, files are
kept up to a limit, and removals are noted. It does not know S3.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from frontend.audit.artifacts import Artifacts, Removal
from frontend.background import in_background
from frontend.errors import StoreUnavailable
from frontend.store.audit import AuditStore
from frontend.store.objects import Objects, ObjectsUnavailable

_PERIOD_S = 1.0
_MOST_S = 30.0
"""Between two attempts while the bucket is away."""
_UNOWNED_S = 3600.0
"""How old a file without a record must be to be removed: records are written after their files."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BucketArtifacts(Artifacts):
    """`max_bytes` may wait in the folder; what does not fit is not kept, and counted by `lost`."""

    objects: Objects
    max_bytes: int
    lost: Callable[[int], None]
    _waiting: dict[str, int] = field(default_factory=dict)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of files that the bucket does not have yet."""
        return sum(tuple(self._waiting.values()))

    def keep(self, content: bytes) -> str:
        """Stores a content in the folder. Raises OSError, also where too much waits."""
        if self.waiting_bytes + len(content) > self.max_bytes:
            self.lost(1)
            raise OSError(None, "too many artifacts wait for the bucket")
        digest = Artifacts.keep(self, content)
        self._waiting[digest] = len(content)
        self._removal(digest).unlink(missing_ok=True)
        return digest

    def read(self, digest: str) -> bytes | None:
        """The content from the folder or the bucket, or None if neither has it.

        Raises ObjectsUnavailable if the bucket does not answer, and ObjectChanged if the content
        does not have its digest.
        """
        content = Artifacts.read(self, digest)
        return self.objects.get(digest) if content is None and self.is_digest(digest) else content

    def remove(self, digest: str) -> Removal:
        """Removes a content from both; from the bucket later, if it cannot be reached."""
        was_here = Artifacts.remove(self, digest) is Removal.REMOVED
        self._waiting.pop(digest, None)
        try:
            was_there = self.objects.remove(digest)
        except ObjectsUnavailable:
            note = self._removal(digest)
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            note.touch(mode=0o600)
            return Removal.WAITING
        return Removal.REMOVED if was_here or was_there else Removal.MISSING

    @asynccontextmanager
    async def running(self, store: AuditStore) -> AsyncIterator[None]:
        """Sends what waits until the block ends; the rest waits for the next start."""
        self._waiting.update(await asyncio.to_thread(self._found))
        try:
            async with in_background(self._repeat(store)):
                yield
        finally:
            await asyncio.to_thread(self.objects.close)

    async def _repeat(self, store: AuditStore) -> None:
        wait_s = _PERIOD_S
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self.send(store)
            except (ObjectsUnavailable, StoreUnavailable, OSError) as error:
                if wait_s == _PERIOD_S:
                    _log.warning("audit artifacts are waiting for the bucket: %s", _reason(error))
                wait_s = min(2 * wait_s, _MOST_S)
            else:
                if wait_s > _PERIOD_S:
                    _log.info("audit artifacts are sent to the bucket again")
                wait_s = _PERIOD_S

    async def send(self, store: AuditStore) -> None:
        """Sends what waits, and removes what was to be removed. Raises ObjectsUnavailable,
        StoreUnavailable or OSError if the bucket, the database or the folder cannot be used."""
        for digest in tuple(self._waiting):
            if await store.owners_of(digest):
                await asyncio.to_thread(self._send, digest)
            else:
                await asyncio.to_thread(self._forget, digest)
        for note in await asyncio.to_thread(self._removals):
            # another record may have it since
            if not await store.owners_of(note.name):
                await asyncio.to_thread(self.objects.remove, note.name)
            await asyncio.to_thread(note.unlink, missing_ok=True)

    def _send(self, digest: str) -> None:
        content = Artifacts.read(self, digest)
        if content is not None:
            self.objects.put(digest, content)
            Artifacts.remove(self, digest)
        self._waiting.pop(digest, None)

    def _forget(self, digest: str) -> None:
        """Removes a file whose record was never written."""
        path = self.path(digest)
        if not path.exists() or time.time() - path.stat().st_mtime > _UNOWNED_S:
            path.unlink(missing_ok=True)
            self._waiting.pop(digest, None)

    def _found(self) -> dict[str, int]:
        files = [path for path in self.folder.glob("??/*") if self.is_digest(path.name)]
        for path in files:
            path.touch()  # records of an earlier process may not be written yet
        return {path.name: path.stat().st_size for path in files}

    def _removals(self) -> list[Path]:
        return [path for path in self.folder.glob("removed/*") if self.is_digest(path.name)]

    def _removal(self, digest: str) -> Path:
        return self.folder / "removed" / digest


def _reason(error: Exception) -> str:
    if isinstance(error, StoreUnavailable):
        return error.reason
    return (error.strerror or "") if isinstance(error, OSError) else f"the bucket: {error}"
