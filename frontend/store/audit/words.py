"""The words that a record is found by: those of its texts, and those that stand for its filters."""

import hashlib
import re

from frontend.domain.audit import AuditRecord

_WORD = re.compile(r"[^\W_]+")
_MAX_WORD = 64
_MAX_WORDS_BYTES = 256 * 1024
"""Of one record: PostgreSQL's tsvector holds 1 MiB."""


def words_of(*texts: str) -> list[str]:
    """The words of texts as they are indexed: in lower case, each once."""
    found: dict[str, None] = {}
    left = _MAX_WORDS_BYTES
    for one in texts:
        for match in _WORD.finditer(one.lower()):
            word = match[0][:_MAX_WORD]
            if word not in found:
                left -= len(word.encode("utf-8", "replace")) + 1
                if left < 0:
                    return [*found]
                found[word] = None
    return [*found]


def facets_of(record: AuditRecord) -> list[str]:
    """Words that stand for what a record can be filtered by; no text has a word with `_`."""
    return [
        facet("u", record.user_id),
        facet("g", record.group_id),
        facet("m", record.model),
        facet("s", str(record.status)),
    ]


def facet(letter: str, value: str) -> str:
    """The word that stands for one value of a filter."""
    return f"_{letter}{hashlib.sha256(value.encode()).hexdigest()[:12]}"
