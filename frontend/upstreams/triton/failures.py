"""Translates the errors of Triton and its models to the gateway's. Nothing else does.

A model's own error ends with a JSON object after a marker (the tensor contract); only that is for
callers, and its fields get their canonical names. Any other text is logged, and the caller gets a
general error.
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
    UpstreamLost,
    clip,
)
from frontend.upstreams.triton.contract import CANONICAL_NAMES

MARKER = "toolkit-error:"
_log = logging.getLogger(__name__)
CODES = frozenset(
    (
        "backend_error", "content_filter", "content_policy_violation", "context_length_exceeded",
        "engine_failed", "engine_unavailable", "grammar_too_expensive", "grammar_too_large",
        "invalid_grammar", "invalid_token_ids", "invalid_value", "unknown_parameter",
        "unsupported_content", "unsupported_parameter", "unsupported_schema", "unsupported_value",
    )
)  # fmt: skip
"""The contract's codes. Logs, metrics and the audit have an error's code, so it must never be a
text that a model makes of a prompt."""
_CLASSES: dict[int, type[GatewayError]] = {
    429: RateLimited,
    503: BackendUnavailable,
    504: BackendTimeout,
}


def from_message(text: str, engine_id: str) -> GatewayError:
    """The error for a message of a model or of Triton."""
    error: GatewayError
    if marked := _marked(text):
        error = _overflow(marked) or _class_of(marked.get("status"))(
            str(marked.get("message", "the model refused the request")),
            param=_text(marked.get("param")),
            code=code if (code := _text(marked.get("code"))) in CODES else None,
        )
        error.rename(CANONICAL_NAMES)
        return error.caused_by(text)
    # only into the log: Triton's error texts have shown names of its shared memory (CVE-2025-23319)
    # or of prompts, so the log has it only where the settings ask for it
    private = {"id": engine_id, "upstream_text": clip(text, 4000)}
    _log.error("request %s failed in the backend", engine_id, extra=private)
    if _names_a_model(text):
        error = BackendUnavailable("the model is not available now; try again later")
    else:
        error = BackendFailed(f"the model failed; request id {engine_id}")
    return error.caused_by(text)


def from_status(code: str, details: str, engine_id: str) -> GatewayError:
    """The error for a gRPC status; `code` is its name."""
    if MARKER in details:
        return from_message(details, engine_id)
    if code == "DEADLINE_EXCEEDED":
        return BackendTimeout("the request took longer than the server allows")
    # Triton 2.51 reports a restricted call as UNAVAILABLE, which clients would retry
    if is_restricted(code, details):
        private = {"id": engine_id, "upstream_text": details}
        _log.warning("request %s: Triton does not allow this call", engine_id, extra=private)
        return NotSupported(
            "the model server does not allow this gateway to load or unload models; the operator"
            " can load and unload models at the server, or give the gateway a key (setting"
            " triton_key_file)"
        )
    # Triton has the same status for one model that is not there
    if code == "UNAVAILABLE" and not _names_a_model(details):
        # the registry polls every 2 s, and logs by itself when the answer changes
        level = logging.DEBUG if engine_id == "models" else logging.WARNING
        private = {"id": engine_id, "upstream_text": details}
        _log.log(level, "request %s: Triton is unavailable", engine_id, extra=private)
        lost = UpstreamLost("the model server is not available now; try again later")
        return lost.caused_by(details)
    return from_message(details, engine_id)


def _overflow(marked: dict[str, Any]) -> ContextOverflow | None:
    """The numbers of a prompt above the context length, if the model sent them."""
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
    """Whether Triton restricts the call: not a failure of a model, and never to be retried."""
    closed = ("protocol is restricted", "load / unload is not allowed")
    return code == "PERMISSION_DENIED" or any(words in details for words in closed)


def is_unknown(details: str) -> bool:
    """Whether Triton says that it does not have the model."""
    return "unknown model" in details or "is not found" in details


def _names_a_model(text: str) -> bool:
    return is_unknown(text) or "is not healthy" in text or "is not ready" in text


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
        # not `loads`, since text may follow the object
        value, _ = json.JSONDecoder().raw_decode(payload.strip())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
