"""An error in Anthropic's shape: `{"type": "error", "error": {…}, "request_id"}`.

Some clients parse the text, so it has the API's own wording: LiteLLM and LangChain recognise a
prompt that is too long, and Claude Code reads the numbers to request fewer tokens.
"""

import orjson

from frontend.errors import ContextOverflow, GatewayError, ModelNotFound, Overloaded, RateLimited

_CONTENT_FILTER = ("content_filter", "content_policy_violation")

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
    """The HTTP status; Anthropic's API uses 529 for a busy server."""
    return 529 if isinstance(error, Overloaded) else error.status


def render_error(error: GatewayError, request_id: str) -> bytes:
    """The body of an error response."""
    status = status_of(error)
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    body = {"type": kind, "message": _message(error)}
    return orjson.dumps({"type": "error", "error": body, "request_id": request_id})


def render_stream_error(error: GatewayError, request_id: str) -> bytes:
    """An error after the first byte of a stream: its last event."""
    return b"event: error\ndata: " + render_error(error, request_id) + b"\n\n"


def _message(error: GatewayError) -> str:
    if isinstance(error, ContextOverflow):
        return _overflow(error)
    if error.code == ContextOverflow.code:  # the tokens were not counted
        return f"prompt is too long: {error.message}"
    if isinstance(error, ModelNotFound):
        return f"model: {error.model}; GET /v1/models lists the models"
    if isinstance(error, RateLimited) and "rate limit" not in error.message.lower():
        return f"This request would exceed your rate limit: {error.message}"
    if isinstance(error, Overloaded):
        return f"Overloaded: {error.message}"
    if error.code in _CONTENT_FILTER:
        return f"Output blocked by content filtering policy: {error.message}"
    return error.message


def _overflow(error: ContextOverflow) -> str:
    limit, prompt, requested = error.limit, error.prompt_tokens, error.requested_tokens
    if prompt is None:
        return f"prompt is too long: {error.message}; the maximum is {limit} tokens"
    if prompt < limit and requested:
        return (
            f"input length and `max_tokens` exceed context limit: {prompt} + {requested} > {limit},"
            " decrease input length or `max_tokens` and try again"
        )
    # a prompt of exactly the limit leaves no room for an answer, and "100 > 100" would be wrong
    return f"prompt is too long: {prompt} tokens > {min(limit, prompt - 1)} maximum"
