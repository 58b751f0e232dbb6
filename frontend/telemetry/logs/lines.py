"""Log records as lines: JSON for programs, text for people. Neither has secrets or prompts.

A record may carry `fields` (a mapping: what a request came to), `id` (the request's) and
`upstream_text` (the words of an upstream's error, which are left out unless they are asked for).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from frontend.telemetry.logs.redact import redact, stack_of

_ID = 32  # characters of a request's own id


@dataclass(frozen=True, slots=True)
class Line:
    """One line in both forms, without its end; a form that is not written is empty."""

    json: bytes
    text: bytes


@dataclass(frozen=True, slots=True)
class Format:
    """`shows_upstream_text`: whether the words of upstreams' errors are logged. `traces`: ids of
    traces by those of running requests."""

    shows_upstream_text: bool = False
    traces: Mapping[str, str] = field(default_factory=dict)
    has_json: bool = True
    has_text: bool = True

    def write(self, record: logging.LogRecord) -> Line:
        """The forms of a record that sinks write."""
        error = record.exc_info[1] if record.exc_info else None
        stack = stack_of(error) if error is not None else []
        return Line(
            self._json(record, stack) if self.has_json else b"",
            self._text(record, stack) if self.has_text else b"",
        )

    def _json(self, record: logging.LogRecord, stack: list[str]) -> bytes:
        at = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        fields: Mapping[str, Any] | None = getattr(record, "fields", None)
        shown: dict[str, Any] = {
            # first, so that a sink can rename it without reading the line
            "time": at.isoformat(timespec="microseconds") + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": "request" if fields is not None else self._message(record),
        }
        if (request_id := getattr(record, "id", None)) is not None:
            shown["id"] = request_id
            # calls to upstreams are named `user/request` and a number
            if (trace := self.traces.get(str(request_id).rpartition("/")[2][:_ID])) is not None:
                shown["trace_id"] = trace
        shown |= fields or {}
        if stack:
            shown["stack"] = stack
        return _dump(shown)

    def _text(self, record: logging.LogRecord, stack: list[str]) -> bytes:
        second = int(record.created)
        head = f"{_time_of(second)},{int(record.created % 1 * 1000):03d} {record.levelname}"
        text = "\n  ".join([f"{head} {record.name} {self._message(record)}", *stack])
        return text.encode("utf-8", "replace")

    def _message(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            return f"a log line of {record.pathname}:{record.lineno} cannot be written"
        if getattr(record, "fields", None) is not None:
            return message  # made of the gateway's own words
        if self.shows_upstream_text and (text := getattr(record, "upstream_text", "")):
            message = f"{message}: {text}"
        return redact(message)


@lru_cache(maxsize=4)
def _time_of(second: int) -> str:
    """In this machine's zone: a person reads it here."""
    return f"{datetime.fromtimestamp(second):%Y-%m-%d %H:%M:%S}"


def _dump(shown: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(shown)
    except orjson.JSONEncodeError:  # a lone surrogate
        return orjson.dumps(
            {name: str(one).encode("utf-8", "replace").decode() for name, one in shown.items()}
        )
