"""An error in Ollama's shape: `{"error": "text"}`, also as the last line of a stream.

Clients recognise an error only by its text, so it is Ollama's own text if Ollama has one.
"""

import orjson

from frontend.errors import ContextOverflow, GatewayError, ModelNotFound, NotCapable, Overloaded

_CAPABILITIES = {"completion": "generate", "embedding": "embeddings"}


def render_error(error: GatewayError) -> bytes:
    """The body of an error response, or the line that ends a stream."""
    return orjson.dumps({"error": _message(error)}) + b"\n"


def _message(error: GatewayError) -> str:
    if isinstance(error, ContextOverflow):
        return f"the input length exceeds the context length: {_counted(error)}"
    if error.code == ContextOverflow.code:  # the tokens were not counted
        return f"the input length exceeds the context length: {error.message}"
    if isinstance(error, ModelNotFound):
        return f"model '{error.model}' not found"
    if isinstance(error, NotCapable):
        word = _CAPABILITIES.get(error.capability, error.capability)
        return f'"{error.model}" does not support {word}'
    if isinstance(error, Overloaded) and error.code == "overloaded":
        return f"server busy, please try again. {error.message}"
    return error.message


def _counted(error: ContextOverflow) -> str:
    if error.prompt_tokens is None:
        return f"{error.message}; the context length is {error.limit} tokens"
    if error.prompt_tokens < error.limit and error.requested_tokens:
        return f"{error.prompt_tokens} + {error.requested_tokens} tokens > {error.limit}"
    # a prompt of exactly the limit leaves no room for an answer, and "100 > 100" would be wrong
    return f"{error.prompt_tokens} tokens > {min(error.limit, error.prompt_tokens - 1)}"
