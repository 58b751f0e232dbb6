"""An error in Anthropic's shape: `{"type": "error", "error": {…}, "request_id"}`."""

import orjson

from frontend.errors import GatewayError, Overloaded

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def status_of(error: GatewayError) -> int:
    """Anthropic's clients know a busy server by a status of its own."""
    return 529 if isinstance(error, Overloaded) else error.status


def render_error(error: GatewayError, request_id: str) -> bytes:
    """The body of an error response."""
    status = status_of(error)
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    told = {"type": kind, "message": error.message}
    return orjson.dumps({"type": "error", "error": told, "request_id": request_id})


def render_stream_error(error: GatewayError, request_id: str) -> bytes:
    """An error after the first byte of a stream: its last event."""
    return b"event: error\ndata: " + render_error(error, request_id) + b"\n\n"
