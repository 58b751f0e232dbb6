"""What Triton and the models say, as the gateway's errors."""

import json
import logging
import re

import pytest

from frontend.telemetry.logs.lines import Format
from frontend.upstreams.triton.failures import CODES, from_message, from_status
from tests.support.processes import ROOT


def marked(**fields: object) -> str:
    return f"in ensemble 'm', refused toolkit-error:{json.dumps(fields)}"


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        (marked(code="context_length_exceeded", message="too long", status=400), 400, "context"),
        (marked(code="engine_failed", message="later", status=503), 503, "engine_failed"),
        (marked(code="the prompt", message="m", status=500), 502, "backend_error"),
        (marked(code="the prompt", message="m", status=429), 429, "rate_limit_exceeded"),
        (marked(code=5, param=[], message=None, status="odd"), 502, "backend_error"),
        ("Stub process 'm_0_0' is not healthy.", 503, "backend_unavailable"),
        ("RuntimeError: shm region /secret", 502, "backend_error"),
        ("toolkit-error:{not json", 502, "backend_error"),
    ],
)
def test_messages_become_errors(text: str, status: int, code: str) -> None:
    error = from_message(text, "req-1")
    assert error.status == status
    assert (error.code or "").startswith(code)


def test_the_codes_of_all_steps_are_known() -> None:
    """Another one would reach callers as the code of its status."""
    files = [*(ROOT / "python_backends").rglob("*.py")]
    made = {
        code
        for file in files
        for code in re.findall(r'\bcode(?:: str)? ?= ?"(\w+)"', file.read_text())
    }
    assert made
    assert made <= CODES


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ("structured_outputs", "structure"),
        ("structured_outputs.json.items", "structure.json.items"),
        ("chat_template_kwargs", "template_options"),
        ("thinking_token_budget", "thinking_budget"),
        ("messages[0]", "messages[0]"),
    ],
)
def test_fields_get_their_canonical_names(sent: str, param: str) -> None:
    fields = {"code": "invalid_value", "status": 400, "param": sent}
    error = from_message(marked(message=f"'{sent}' is too large", **fields), "req-1")
    assert (error.param, error.message) == (param, f"'{param}' is too large")


def test_a_backends_own_text_is_logged_on_request_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = from_message("secret path /dev/shm/x", "req-1")
    assert "secret" not in error.message
    assert error.upstream_text == "secret path /dev/shm/x"
    assert "req-1" in error.message
    (record,) = caplog.records
    assert b"secret" not in Format().write(record).json
    assert b"secret path" in Format(shows_upstream_text=True).write(record).json


@pytest.mark.parametrize(
    ("code", "status"), [("DEADLINE_EXCEEDED", 504), ("UNAVAILABLE", 503), ("INTERNAL", 502)]
)
def test_statuses_become_errors(code: str, status: int) -> None:
    assert from_status(code, "details", "req-1").status == status


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("PERMISSION_DENIED", "this call is restricted; …"),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'a'"),
        ("UNAVAILABLE", "explicit model load / unload is not allowed if polling is enabled"),
    ],
)
def test_a_closed_control_call_is_nothing_to_try_again(code: str, details: str) -> None:
    refusal = from_status(code, details, "req-1")
    assert refusal.status == 501
    assert "the operator can" in refusal.message
