"""An error in Ollama's shape: `{"error": "text"}`, also as the last line of a stream."""

import orjson

from frontend.errors import GatewayError


def render_error(error: GatewayError) -> bytes:
    """The body of an error response, or the line that ends a stream."""
    return orjson.dumps({"error": error.message}) + b"\n"
