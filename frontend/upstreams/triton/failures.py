"""The one place where what Triton and the models say becomes the gateway's errors.

A model's own message ends with a JSON object after a marker (the tensor contract); only that is
meant for callers. Any other text goes to the log and the caller learns that the backend failed.
"""

import json
import logging
from typing import Any

from frontend.errors import (
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    ContextOverflow,
    GatewayError,
    InvalidRequest,
    NotSupported,
    RateLimited,
    clip,
)

MARKER = "toolkit-error:"
_log = logging.getLogger(__name__)
_CLASSES: dict[int, type[GatewayError]] = {
    429: RateLimited,
    503: BackendUnavailable,
    504: BackendTimeout,
}


def from_message(text: str, engine_id: str) -> GatewayError:
    """The error that a model's or Triton's message stands for."""
    if marked := _marked(text):
        if overflow := _overflow(marked):
            return overflow
        return _class_of(marked.get("status"))(
            str(marked.get("message", "the model refused the request")),
            param=_text(marked.get("param")),
            code=_text(marked.get("code")),
        )
    _log.error("request %s failed in the backend: %s", engine_id, clip(text, 4000))
    if "is not healthy" in text or "is not ready" in text or "unknown model" in text:
        return BackendUnavailable("the model is not available now; try again soon")
    return BackendFailed(f"the model failed; request id {engine_id}")


def from_status(code: str, details: str, engine_id: str) -> GatewayError:
    """The error that a gRPC status stands for; `code` is its name."""
    if MARKER in details:
        return from_message(details, engine_id)
    if code == "DEADLINE_EXCEEDED":
        return BackendTimeout("the request took longer than the server allows")
    if is_restricted(code, details):
        _log.warning("Triton restricts what %s asks for: %s", engine_id, details)
        return NotSupported(
            "the model server does not let this gateway load or unload models; its operator can"
            " do so, or give the gateway a key (setting triton_key_file)"
        )
    if code == "UNAVAILABLE":
        _log.warning("request %s: Triton is unavailable: %s", engine_id, details)
        return BackendUnavailable("the model server is not available now; try again soon")
    return from_message(details, engine_id)


def _overflow(marked: dict[str, Any]) -> ContextOverflow | None:
    """The numbers of a prompt beyond its context, where the step sent them."""
    numbers = marked.get("context")
    if not isinstance(numbers, dict):
        return None
    limit, prompt, requested = (
        numbers.get(name) for name in ("limit", "prompt_tokens", "requested_tokens")
    )
    if type(limit) is not int:
        return None
    return ContextOverflow(
        str(marked.get("message")),
        param=_text(marked.get("param")),
        limit=limit,
        prompt_tokens=prompt if type(prompt) is int else None,
        requested_tokens=requested if type(requested) is int else 0,
    )


def is_restricted(code: str, details: str) -> bool:
    """Whether a control call was closed to us: no failure of a model, and never to be retried."""
    closed = ("protocol is restricted", "load / unload is not allowed")
    return code == "PERMISSION_DENIED" or any(words in details for words in closed)


def _class_of(status: Any) -> type[GatewayError]:
    if isinstance(status, int) and 400 <= status < 429:
        return InvalidRequest
    return _CLASSES.get(status, BackendFailed)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _marked(text: str) -> dict[str, Any] | None:
    _, marker, payload = text.partition(MARKER)
    if not marker:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(payload.strip())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
