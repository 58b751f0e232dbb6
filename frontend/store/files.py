"""Files that answers refer to by URL, in bounds of bytes and time; and the secret that signs links.

Every gateway process on the same database serves the files of all, with the same secret.
"""

from sqlalchemy import insert, select

from frontend.store.database import Database
from frontend.store.retention import Retention, now_us
from frontend.store.secrets import shared_secret
from frontend.store.tables import files

_NAME = "links"


class FileStore:
    """Stored files; the oldest are removed when they have more than `max_bytes`."""

    def __init__(self, database: Database, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._database = database
        self._retention = Retention(files, max_bytes)
        self._secret: bytes | None = None

    async def put(self, name: str, content: bytes, media_type: str, expires_s: int) -> None:
        """Keeps a file until `expires_s`, seconds since 1970."""
        added = insert(files).values(
            name=name,
            media_type=media_type,
            created_at_us=now_us(),
            expires_at_us=expires_s * 1_000_000,
            size_bytes=len(content),
            content=content,
        )
        async with self._database.begin() as connection:
            await connection.execute(added)
            await self._retention.added(connection, len(content))

    async def get(self, name: str) -> tuple[str, bytes] | None:
        """(media type, content); None when it is not there or it has expired."""
        kept = (files.c.name == name) & (files.c.expires_at_us > now_us())
        async with self._database.connect() as connection:
            query = select(files.c.media_type, files.c.content).where(kept)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else (row.media_type, row.content)

    async def secret(self) -> bytes:
        """32 random bytes, made once for the database."""
        if self._secret is None:
            # kept in memory: it never changes, and every link needs it
            self._secret = await shared_secret(self._database, _NAME)
        return self._secret
