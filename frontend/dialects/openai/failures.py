"""An error in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

import orjson

from frontend.errors import GatewayError


def render_error(error: GatewayError) -> bytes:
    """The body of an error response."""
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
            }
        }
    )


def render_stream_error(error: GatewayError) -> bytes:
    """An error after the first byte of a stream: one SSE event, after which the stream closes."""
    return b"data: " + render_error(error) + b"\n\n"
