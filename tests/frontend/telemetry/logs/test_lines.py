"""What a line has, and what it never has."""

import logging
import sys
from datetime import datetime
from typing import Any

import orjson
import pytest

from frontend.telemetry.logs.lines import Format
from frontend.telemetry.logs.redact import redact

KEY = "tt-abcdefghijklmnop-" + "A" * 43


def record(message: str, *args: Any, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("frontend.x", logging.WARNING, __file__, 1, message, args, None)
    vars(made).update(more)
    return made


def test_a_line_is_one_json_object_and_one_text() -> None:
    line = Format().write(record("hello %s", "a\nb\udc80", id="r1"))
    read = orjson.loads(line.json)
    assert (read["level"], read["logger"], read["id"]) == ("warning", "frontend.x", "r1")
    assert read["message"].startswith("hello a\nb")
    assert b"\n" not in line.json
    assert datetime.fromisoformat(read["time"]).tzinfo is not None
    assert b"WARNING frontend.x hello a" in line.text


def test_fields_are_fields_of_the_line() -> None:
    read = orjson.loads(Format().write(record("{}", fields={"status": 200})).json)
    assert (read["message"], read["status"]) == ("request", 200)


@pytest.mark.parametrize("cause", [ValueError("canary"), KeyError("canary"), OSError(28, "full")])
def test_the_text_of_an_exception_is_left_out(cause: Exception) -> None:
    def fail() -> None:
        raise RuntimeError("canary") from cause

    try:
        fail()
    except RuntimeError:
        line = Format().write(record("broken", exc_info=sys.exc_info()))
    stack = orjson.loads(line.json)["stack"]
    assert stack[0] == "RuntimeError"
    assert any(one.endswith(" fail") for one in stack)
    assert b"canary" not in line.json + line.text
    assert ("OSError: full" in stack) == isinstance(cause, OSError)


def test_a_form_that_nobody_writes_is_not_made() -> None:
    line = Format(has_json=False).write(record("hello"))
    assert (line.json, line.text.endswith(b"hello")) == (b"", True)
    line = Format(has_text=False).write(record("hello"))
    assert (orjson.loads(line.json)["message"], line.text) == ("hello", b"")


def test_an_upstreams_words_are_shown_on_request_alone() -> None:
    said = record("failed", upstream_text="canary")
    assert b"canary" not in Format().write(said).json
    assert b"failed: canary" in Format(shows_upstream_text=True).write(said).text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"key {KEY}.", "key [redacted]."),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [redacted]"),
        ("https://user:pa-ss@host/a.png", "https://[redacted]@host/a.png"),
        ("GET https://host/a.png?sig=canary now", "GET https://host/a.png?[redacted] now"),
        ("sk-proj-0123456789abcdef", "[redacted]"),
        ("a basic request of http://host:1/path", "a basic request of http://host:1/path"),
    ],
)
def test_secrets_are_redacted(text: str, left: str) -> None:
    if "basic request" not in text:
        assert redact(text) == left
    else:
        assert "http://host:1/path" in redact(text)
