"""Audit records as lines of files: of the journal, and of what a process could not write."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from frontend.domain.audit import AuditContent, AuditLevel, AuditRecord
from frontend.store.audit import Entry


def journal_folder(folder: Path) -> Path:
    """The folder of the journals of all processes of this machine."""
    return folder / "journal"


def line_without_text(record: AuditRecord) -> bytes:
    """A record for the journal."""
    if record.level == AuditLevel.FULL.value:
        record = replace(record, level=AuditLevel.METADATA.value)
    return orjson.dumps(record, default=bytes.hex)


def record_of(row: dict[str, Any]) -> AuditRecord:
    """Reads a record from JSON. Raises KeyError, TypeError or ValueError if it is not a record of
    this release."""
    if row["digest"] is not None:
        row["digest"] = bytes.fromhex(row["digest"])
    return AuditRecord(**row)


def to_line(record: AuditRecord, content: AuditContent | None) -> bytes:
    """A record with its content, for the next process."""
    kept = None
    if content is not None:
        kept = [content.request, content.answer, content.words, content.artifacts]
    return orjson.dumps([record, kept], default=bytes.hex) + b"\n"


def from_line(line: bytes) -> Entry:
    """Reads what `to_line` wrote."""
    row, kept = orjson.loads(line)
    content = None
    if kept is not None:
        request, answer, words, artifacts = kept
        content = AuditContent(request, answer, words, tuple((a, b, c) for a, b, c in artifacts))
    return record_of(row), content
