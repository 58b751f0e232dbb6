"""Reads the lines of a batch's files: its requests and answers; and writes new answers.

The files of answers are the journal: a line is answered when a complete answer is in one of them.
Everything here reads or writes files, so it runs in threads.
"""

import os
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from frontend.domain.batches import LineError
from frontend.http.body import MAX_DEPTH, is_deeper
from frontend.http.json_values import ValueCount

MAX_ERRORS = 100
_MAX_CUSTOM_ID = 512
_FIELDS = {"custom_id", "method", "url", "body"}
_PIECE = 1 << 20
# as chat completions, completions and embeddings name them, and as responses do
_TOKENS = {
    "prompt": ("prompt_tokens", "input_tokens"),
    "completion": ("completion_tokens", "output_tokens"),
}
_DETAILS = {
    "cached": ("cached_tokens", "prompt_tokens_details", "input_tokens_details"),
    "reasoning": ("reasoning_tokens", "completion_tokens_details", "output_tokens_details"),
}


@dataclass(frozen=True, slots=True)
class LineBounds:
    """`requests` of a file, `size_bytes` of a line, JSON `values` and `containers` in it."""

    requests: int
    size_bytes: int
    values: int
    containers: int


@dataclass(slots=True)
class Lines:
    """The requests of a file: the start and custom id of each; and the errors."""

    starts: "array[int]" = field(default_factory=lambda: array("q"))
    ids: list[str] = field(default_factory=list)
    errors: list[LineError] = field(default_factory=list)


def read_lines(path: Path, endpoint: str, bounds: LineBounds) -> Lines:
    """Checks every line, up to `MAX_ERRORS` errors."""
    lines, seen = Lines(), set[str]()
    with path.open("rb") as file:
        for number, (start, line) in enumerate(_split(file, bounds.size_bytes), start=1):
            if line is not None and not line.strip():
                continue
            if len(lines.ids) >= bounds.requests:
                problem = f"the file has more than {bounds.requests} requests; split it"
                lines.errors.append(LineError("too_many_tasks", problem, number))
                return lines
            try:
                custom_id = _check(line, endpoint, bounds, number)
                if custom_id in seen:
                    raise _LineInvalid(
                        "duplicate_custom_id",
                        f"the custom_id '{custom_id[:60]}' is in the file more than once",
                        number,
                        "custom_id",
                    )
            except _LineInvalid as invalid:
                lines.errors.append(invalid.error)
                if len(lines.errors) >= MAX_ERRORS:
                    return lines
                continue
            seen.add(custom_id)
            lines.ids.append(custom_id)
            lines.starts.append(start)
    if not lines.ids and not lines.errors:
        lines.errors.append(LineError("empty_file", "the file has no requests"))
    return lines


def read_body(path: Path, start: int) -> bytes:
    """The body of the request that begins at `start`."""
    with path.open("rb") as file:
        file.seek(start)
        return orjson.dumps(orjson.loads(file.readline())["body"])


class Answered(set[str]):
    """The custom ids of the answers in a file, and the tokens that they report."""

    def __init__(self) -> None:
        super().__init__()
        self.usage = Counter(dict.fromkeys((*_TOKENS, *_DETAILS), 0))

    def see(self, line: dict[str, Any]) -> None:
        """Reads one line of the file."""
        self.add(line["custom_id"])
        body = (line.get("response") or {}).get("body") or {}
        usage = body.get("usage") or {}
        for name, (own, of_responses) in _TOKENS.items():
            self.usage[name] += usage.get(own) or usage.get(of_responses) or 0
        for name, (part, own, of_responses) in _DETAILS.items():
            details = usage.get(own) or usage.get(of_responses) or {}
            self.usage[name] += details.get(part) or 0


def read_answered(path: Path) -> Answered:
    """Reads the answers in a file. Removes an incomplete answer at its end."""
    answered = Answered()
    if not path.exists():
        return answered
    whole = 0
    with path.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            answered.see(orjson.loads(line))
            whole += len(line)
        file.truncate(whole)
    return answered


def write_line(descriptor: int, line: bytes) -> None:
    """Appends one line. `read_answered` removes an incomplete line of a killed process."""
    view = memoryview(line)
    while view:
        view = view[os.write(descriptor, view) :]


class _LineInvalid(Exception):
    def __init__(self, code: str, message: str, line: int, param: str | None = None) -> None:
        self.error = LineError(code, message, line, param)


def _split(file: BinaryIO, most: int) -> Iterator[tuple[int, bytes | None]]:
    """(start, line) of every line; None in place of one that is too long."""
    start = 0
    while line := file.readline(most + 1):
        if len(line) > most and not line.endswith(b"\n"):
            yield start, None
            while (rest := file.readline(_PIECE)) and not rest.endswith(b"\n"):
                pass
        else:
            yield start, line
        start = file.tell()


def _check(line: bytes | None, endpoint: str, bounds: LineBounds, number: int) -> str:
    """The custom id of a request that can be run."""
    request = _parse(line, bounds, number)
    if unknown := sorted(request.keys() - _FIELDS):
        name = unknown[0][:60]
        raise _LineInvalid("unknown_parameter", f"'{name}' is not a field of a line", number, name)
    for name in ("custom_id", "method", "url", "body"):
        if request.get(name) is None:
            problem = f"'{name}' is required"
            raise _LineInvalid("missing_required_parameter", problem, number, name)
    custom_id, body = request["custom_id"], request["body"]
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= _MAX_CUSTOM_ID:
        problem = f"'custom_id' must be a string of 1 to {_MAX_CUSTOM_ID} characters"
        raise _LineInvalid("invalid_value", problem, number, "custom_id")
    if request["method"] != "POST":
        raise _LineInvalid("invalid_method", "'method' must be 'POST'", number, "method")
    if request["url"] != endpoint:
        problem = f"'url' must be the batch's endpoint, '{endpoint}'"
        raise _LineInvalid("url_mismatch", problem, number, "url")
    if not isinstance(body, dict):
        raise _LineInvalid("invalid_value", "'body' must be an object", number, "body")
    if not isinstance(body.get("model"), str):
        problem = "'body.model' is required"
        raise _LineInvalid("missing_required_parameter", problem, number, "body.model")
    if body.get("stream"):
        problem = "'body.stream' must not be true: answers of batches are not streamed"
        raise _LineInvalid("unsupported_parameter", problem, number, "body.stream")
    return custom_id


def _parse(line: bytes | None, bounds: LineBounds, number: int) -> dict[str, object]:
    if line is None:
        problem = f"the line is longer than {bounds.size_bytes} bytes"
        raise _LineInvalid("request_too_large", problem, number)
    count = ValueCount()
    count.add(line)
    if count.total > bounds.values or count.containers > bounds.containers:
        most = f"{bounds.values} JSON values or {bounds.containers} objects and lists"
        problem = f"the line has more than {most}"
        raise _LineInvalid("request_too_large", problem, number)
    try:
        request = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        problem = f"the line is not valid JSON: {error}"
        raise _LineInvalid("invalid_json_line", problem, number) from None
    if not isinstance(request, dict):
        raise _LineInvalid("invalid_json_line", "the line is not a JSON object", number)
    if count.total > MAX_DEPTH and is_deeper(request, MAX_DEPTH):
        problem = f"the line is nested deeper than {MAX_DEPTH} levels"
        raise _LineInvalid("invalid_json_line", problem, number)
    return request
