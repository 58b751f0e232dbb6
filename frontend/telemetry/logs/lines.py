"""Log records as lines: JSON for programs, text for people. Neither has secrets or prompts.

A record may carry `fields` (a mapping: what a request came to), `id` (the request's) and
`upstream_text` (the words of an upstream's error, which are left out unless they are asked for).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from frontend.telemetry.logs.redact import redact, stack_of

_ID = 32  # characters of a request's own id


@dataclass(frozen=True, slots=True)
class Line:
    """One line in both forms, without its end."""

    json: bytes
    text: bytes


@dataclass(frozen=True, slots=True)
class Format:
    """`shows_upstream_text`: whether the words of upstreams' errors are logged. `traces`: ids of
    traces by those of running requests."""

    shows_upstream_text: bool = False
    traces: Mapping[str, str] = field(default_factory=dict)

    def write(self, record: logging.LogRecord) -> Line:
        """Both forms of a record."""
        at = datetime.fromtimestamp(record.created, UTC)
        message = self._message(record)
        fields: Mapping[str, Any] | None = getattr(record, "fields", None)
        shown: dict[str, Any] = {
            # first, so that a sink can rename it without reading the line
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": "request" if fields is not None else message,
        }
        if (request_id := getattr(record, "id", None)) is not None:
            shown["id"] = request_id
            # calls to upstreams are named `user/request` and a number
            if (trace := self.traces.get(str(request_id).rpartition("/")[2][:_ID])) is not None:
                shown["trace_id"] = trace
        shown |= fields or {}
        stack = [] if not (record.exc_info and record.exc_info[1]) else stack_of(record.exc_info[1])
        if stack:
            shown["stack"] = stack
        local = at.astimezone()
        head = f"{local:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d} {record.levelname}"
        text = "\n  ".join([f"{head} {record.name} {message}", *stack])
        return Line(_dump(shown), text.encode("utf-8", "replace"))

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


def _dump(shown: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(shown)
    except orjson.JSONEncodeError:  # a lone surrogate
        return orjson.dumps(
            {name: str(one).encode("utf-8", "replace").decode() for name, one in shown.items()}
        )
