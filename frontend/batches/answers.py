"""Renders the lines of answers that a batch writes, in OpenAI's shape. Pure."""

from typing import Any

import orjson

from frontend.domain.batches import new_id

EXPIRED = (
    "batch_expired",
    "This request could not be executed before the completion window expired.",
)
CANCELLED = ("batch_cancelled", "This request was not executed: the batch was cancelled.")


def render_answer(custom_id: str, status: int, body: bytes, request_id: str) -> bytes:
    """The answer of a route, whatever its status. `body` is JSON."""
    response = {"status_code": status, "request_id": request_id, "body": orjson.Fragment(body)}
    return _line(custom_id, response, None)


def render_missing(custom_id: str, reason: tuple[str, str]) -> bytes:
    """A line for a request that was not run, with the reason."""
    return _line(custom_id, None, {"code": reason[0], "message": reason[1]})


def _line(custom_id: str, response: dict[str, Any] | None, error: dict[str, str] | None) -> bytes:
    line = {"id": new_id("batch_req_"), "custom_id": custom_id, "response": response}
    return orjson.dumps({**line, "error": error}) + b"\n"
