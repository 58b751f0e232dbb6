"""Searches the audit: pages for people, and exports of all matching records, in parts.

It does not know HTTP.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from frontend.audit.artifacts import Artifacts
from frontend.domain.audit import AuditContent, AuditRecord
from frontend.errors import NotFound, StoreUnavailable
from frontend.store.audit import AuditFilter, AuditStore, moment_of
from frontend.store.objects import ObjectChanged, ObjectsUnavailable

_PIECE = 500
Render = Callable[[AuditRecord, AuditContent | None], bytes]


@dataclass(frozen=True, slots=True)
class Search:
    """Reads one audit."""

    store: AuditStore
    artifacts: Artifacts

    async def page(self, chosen: AuditFilter, before: int | None, limit: int) -> list[AuditRecord]:
        """Up to `limit` records that are older than `before`, the newest first."""
        return await self.store.search(chosen, before, limit)

    async def find(
        self, record_id: int, user_id: str | None = None
    ) -> tuple[AuditRecord, AuditContent | None] | None:
        """A record with its content; only of that user."""
        record = await self.store.get(record_id)
        if record is None or (user_id is not None and record.user_id != user_id):
            return None
        return record, (await self.store.contents([record_id])).get(record_id)

    async def artifact(self, digest: str, user_id: str | None = None) -> tuple[str, bytes] | None:
        """Media type and content of an artifact, or None; with `user_id` only from that user's
        requests.

        Raises StoreUnavailable if the database or the bucket cannot be reached, and NotFound if the
        artifact was changed outside the gateway.
        """
        for record_id, media_type in await self.store.owners_of(digest):
            if user_id is not None:
                record = await self.store.get(record_id)
                if record is None or record.user_id != user_id:
                    continue
            try:
                content = await asyncio.to_thread(self.artifacts.read, digest)
            except ObjectsUnavailable as error:
                raise StoreUnavailable(f"the bucket of artifacts: {error}") from None
            except ObjectChanged:
                text = "the artifact was changed outside the gateway: its SHA-256 is different"
                raise NotFound(text) from None
            return None if content is None else (media_type, content)
        return None

    async def export(
        self, chosen: AuditFilter, render: Render, *, with_content: bool
    ) -> AsyncIterator[bytes]:
        """Every record, the newest first, a few hundred in each piece."""
        before: int | None = None
        while rows := await self.store.search(chosen, before, _PIECE):
            contents: Mapping[int, AuditContent] = {}
            if with_content:
                ids = [row.id for row in rows if row.level == "full"]
                contents = await self.store.contents(ids) if ids else {}
            # rows of megabytes take a while to write
            yield await asyncio.to_thread(_joined, rows, contents, render)
            before = rows[-1].id


def _joined(
    rows: Sequence[AuditRecord], contents: Mapping[int, AuditContent], render: Render
) -> bytes:
    return b"".join(render(row, contents.get(row.id)) for row in rows)


def show_own(record: AuditRecord, content: AuditContent | None = None) -> dict[str, Any]:
    """A record for its user: without the texts of upstreams' errors, which may contain keys and
    addresses of the gateway."""
    shown = show(record, content)
    if content is not None:
        shown["answer"].pop("failure", None)
    return shown


def show(record: AuditRecord, content: AuditContent | None = None) -> dict[str, Any]:
    """A record as JSON. `id` is a string: JavaScript's numbers are too small."""
    shown: dict[str, Any] = {"id": str(record.id), "object": "audit.record"}
    shown["at"] = moment_of(record.id) / 1e6
    shown |= {name: value for name, value in asdict(record).items() if name != "id"}
    shown["digest"] = None if record.digest is None else record.digest.hex()
    shown["credits"] = shown.pop("credits_micro") / 1e6
    for name in ("queue", "first_token", "duration"):
        us = shown.pop(f"{name}_us")
        shown[f"{name}_s"] = None if us is None else us / 1e6
    if content is not None:
        shown["request"] = orjson.loads(content.request)
        shown["answer"] = orjson.loads(content.answer)
        shown["artifacts"] = [
            {"sha256": digest, "media_type": kind, "size_bytes": size}
            for digest, kind, size in content.artifacts
        ]
    return shown


def line_of(record: AuditRecord, content: AuditContent | None = None) -> bytes:
    """A record as one line of JSON."""
    return orjson.dumps(show(record, content)) + b"\n"


def own_line_of(record: AuditRecord, content: AuditContent | None = None) -> bytes:
    """A record as one line of JSON for its user."""
    return orjson.dumps(show_own(record, content)) + b"\n"


def csv_head() -> bytes:
    """The names of the columns."""
    empty = AuditRecord(**dict.fromkeys(AuditRecord.__slots__, 0))  # type: ignore[arg-type]
    return _csv([*_shown(AuditRecord(**{**asdict(empty), "digest": None}))])


def csv_row(record: AuditRecord, _: AuditContent | None = None) -> bytes:
    """A record as one line of CSV."""
    return _csv([_plain(value) for value in _shown(record).values()])


def _shown(record: AuditRecord) -> dict[str, Any]:
    shown = show(record)
    del shown["object"]
    return shown


def _csv(values: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().encode()


def _plain(value: object) -> object:
    """Spreadsheets run what begins with one of these."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
