"""The one place where what Triton and the models say becomes the gateway's errors.

A model's own message ends with a JSON object after a marker (the tensor contract); only that is
meant for callers. Any other text goes to the log and the caller learns that the backend failed.
"""

import json
import logging

from frontend.errors import (
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    GatewayError,
    InvalidRequest,
    Overloaded,
)

MARKER = "toolkit-error:"
_log = logging.getLogger(__name__)
_CLASSES: dict[int, type[GatewayError]] = {
    429: Overloaded,
    503: BackendUnavailable,
    504: BackendTimeout,
}


def from_message(text: str, request_id: str) -> GatewayError:
    """The error that a model's or Triton's message stands for."""
    if marked := _marked(text):
        status = int(marked.get("status", 500))
        kind = InvalidRequest if 400 <= status < 429 else _CLASSES.get(status, BackendFailed)
        return kind(
            str(marked.get("message", "the model refused the request")),
            param=marked.get("param"),
            code=marked.get("code"),
        )
    _log.error("request %s failed in the backend: %s", request_id, text)
    if "is not healthy" in text or "is not ready" in text or "unknown model" in text:
        return BackendUnavailable("the model is not available now; try again soon")
    return BackendFailed(f"the model failed; the operator finds it in the log as {request_id}")


def from_status(code: str, details: str, request_id: str) -> GatewayError:
    """The error that a gRPC status stands for; `code` is its name."""
    if MARKER in details:
        return from_message(details, request_id)
    if code == "DEADLINE_EXCEEDED":
        return BackendTimeout("the request took longer than the server allows")
    if code == "UNAVAILABLE":
        _log.warning("request %s: Triton is unavailable: %s", request_id, details)
        return BackendUnavailable("the model server is not available now; try again soon")
    return from_message(details, request_id)


def _marked(text: str) -> dict[str, str] | None:
    _, found, payload = text.partition(MARKER)
    if not found:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(payload.strip())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
