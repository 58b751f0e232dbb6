"""The content of an audit record: the texts of a request and its answers, as they are stored.

Files and images of a request are stored apart from it (`audit.artifacts`).
"""

import logging
from typing import Any

import orjson

from frontend.audit.artifacts import Artifacts, Extraction, texts_of
from frontend.domain.audit import AuditContent, AuditRecord, Capture
from frontend.store.audit import facets_of, words_of

_log = logging.getLogger(__name__)


def content_of(record: AuditRecord, capture: Capture, artifacts: Artifacts) -> AuditContent:
    """The content of a request that is stored. Blocks."""
    extraction = Extraction(artifacts)
    try:
        request = extraction.strip(bytes(capture.body)) if capture.body else "null"
        for media_type, file in capture.artifacts:
            extraction.keep(media_type, file)
    except OSError as error:
        _log.error(
            "artifacts of a request are not kept: %s", error.strerror,
            extra={"id": record.request_id},
        )  # fmt: skip
        request = orjson.dumps(capture.body.decode("utf-8", "replace")).decode()
    answers = [
        {"prompt": prompt, "attempt": attempt, "index": index} | _joined(parts)
        for (prompt, attempt, index), parts in sorted(capture.answers.items())
    ]
    shown: dict[str, Any] = {"completions": answers}
    if capture.failure:
        shown["failure"] = capture.failure
    answer = orjson.dumps(shown).decode()
    # without the failure: callers can search their own records, and do not see its words
    words = words_of(*texts_of(orjson.loads(request)), *texts_of(answers))
    return AuditContent(
        _storable(request),
        _storable(answer),
        " ".join([*facets_of(record), *words]),
        tuple(extraction.kept.values()),
    )


def _joined(parts: dict[str, Any]) -> dict[str, Any]:
    texts = {name: "".join(parts[name]) for name in ("text", "reasoning") if name in parts}
    return texts | ({"tool_calls": parts["tool_calls"]} if "tool_calls" in parts else {})


def _storable(text: str) -> str:
    # JSON escapes U+0000, which PostgreSQL's text cannot hold
    return text.replace("\x00", "\\u0000")
