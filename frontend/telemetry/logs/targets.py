"""What Elasticsearch, Splunk and Loki want: lines to a request, and an answer to a verdict.

Sources: Elasticsearch's bulk API, Splunk's HTTP event collector (its codes are in "Troubleshoot
HTTP Event Collector"), Loki's push API. They do not know threads or disks.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import orjson

from frontend.telemetry.logs.post import Away, Endpoint

_JSON = "application/json"
_BAD_LINES = (400, 413, 422)
"""Statuses that blame the lines; with all others the same lines may be accepted later."""
_SPLUNK_BAD_LINES = (5, 6, 12, 13)
_CREATED = (200, 201, 409)
"""409: an earlier attempt, whose answer was lost, has written it."""


class Refused(Exception):
    """The sink will never take these lines together."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for a batch that was sent: lines to send again, and the number of refused ones."""

    again: list[bytes] = field(default_factory=list)
    refused: int = 0


class Target(Protocol):
    """A place that takes batches of lines."""

    def send(self, lines: list[bytes]) -> Verdict:
        """Sends lines. Raises Away if the target does not answer, Refused if it refuses them."""
        ...


@dataclass(frozen=True, slots=True)
class Elastic:
    """Documents of an index or data stream, each created once however often it is sent."""

    endpoint: Endpoint

    def send(self, lines: list[bytes]) -> Verdict:
        """Sends lines, and reads the result of each. Raises Away if the target does not answer,
        Refused if it refuses them."""
        body = b"".join(_document(line) for line in lines)
        status, answer = self.endpoint.post(body, "application/x-ndjson")
        _check(status)
        try:
            read = orjson.loads(answer)
            results = [next(iter(item.values())) for item in read["items"]]
            statuses = [int(result["status"]) for result in results]
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
            raise Away("an answer that is not one of the bulk API") from None
        if len(statuses) != len(lines):
            raise Away("an answer about another number of lines")
        pairs = [*zip(lines, statuses, strict=True)]
        again = [line for line, one in pairs if one not in (*_CREATED, *_BAD_LINES)]
        return Verdict(again, sum(one in _BAD_LINES for one in statuses))


def _document(line: bytes) -> bytes:
    name = hashlib.blake2b(line, digest_size=16).hexdigest()
    renamed = line.replace(b'{"time":', b'{"@timestamp":', 1)  # data streams require this name
    return b'{"create":{"_id":"%s"}}\n%s\n' % (name.encode(), renamed)


@dataclass(frozen=True, slots=True)
class Splunk:
    """Events of the HTTP event collector."""

    endpoint: Endpoint
    host: str
    index: str = ""

    def send(self, lines: list[bytes]) -> Verdict:
        """Sends lines. Raises Away if the target does not answer, Refused if it refuses them."""
        status, answer = self.endpoint.post(b"\n".join(map(self._event, lines)), _JSON)
        if status == 400:
            # 400 is also the answer for a wrong index or channel, which an operator can correct
            code = _code_of(answer)
            if code not in _SPLUNK_BAD_LINES:
                raise Away(f"status 400, code {code}")
        _check(status)
        return Verdict()

    def _event(self, line: bytes) -> bytes:
        read = orjson.loads(line)
        shown = {"time": _moment(read).timestamp(), "host": self.host, "event": read}
        shown |= {"source": "triton-gateway", "sourcetype": "_json"}
        return orjson.dumps(shown | ({"index": self.index} if self.index else {}))


@dataclass(frozen=True, slots=True)
class Loki:
    """One stream for each level; all else stays in the line, since labels must be few."""

    endpoint: Endpoint
    host: str

    def send(self, lines: list[bytes]) -> Verdict:
        """Sends lines. Raises Away if the target does not answer, Refused if it refuses them."""
        streams: dict[str, list[list[str]]] = {}
        for line in lines:
            read = orjson.loads(line)
            at_ns = int(_moment(read).timestamp() * 1_000_000) * 1000
            streams.setdefault(read["level"], []).append([str(at_ns), line.decode()])
        body = [
            {
                "stream": {"service_name": "triton-gateway", "host": self.host, "level": level},
                "values": values,
            }
            for level, values in streams.items()
        ]
        status, _ = self.endpoint.post(orjson.dumps({"streams": body}), _JSON)
        _check(status)
        return Verdict()


def _check(status: int) -> None:
    if status in _BAD_LINES:
        raise Refused
    if not 200 <= status < 300:
        raise Away(f"status {status}")


def _code_of(answer: bytes) -> int | None:
    try:
        code = orjson.loads(answer)["code"]
    except (ValueError, KeyError, TypeError):
        return None
    return code if isinstance(code, int) else None


def _moment(read: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(read["time"])
