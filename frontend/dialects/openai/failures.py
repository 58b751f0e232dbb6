"""An error in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

LiteLLM, LangChain and agents recognise some errors by their text. Those texts begin like the API's
own, and end with the code, because newer SDKs show only the text.
"""

import orjson

from frontend.errors import (
    ContextOverflow,
    GatewayError,
    ModelNotFound,
    QuotaExceeded,
    RateLimited,
)

CONTENT_FILTER = ("content_filter", "content_policy_violation")
_TEXTS = ("messages", "input", "documents", "query", "negative_prompt")


def render_error(error: GatewayError) -> bytes:
    """The body of an error response."""
    return orjson.dumps(
        {
            "error": {
                "message": _message(error),
                "type": error.type,
                "param": error.param,
                "code": CONTENT_FILTER[1] if error.code in CONTENT_FILTER else error.code,
            }
        }
    )


def render_stream_error(error: GatewayError) -> bytes:
    """An error after the first byte of a stream: one SSE event, after which the stream closes."""
    return b"data: " + render_error(error) + b"\n\n"


def _message(error: GatewayError) -> str:
    if isinstance(error, ContextOverflow):
        return f"{_overflow(error)} ({error.code})"
    if error.code == ContextOverflow.code:  # the tokens were not counted
        return f"This model's maximum context length is exceeded: {error.message} ({error.code})"
    if isinstance(error, ModelNotFound):
        return (
            f"The model `{error.model}` does not exist or you do not have access to it;"
            " GET /v1/models lists the models"
        )
    # before RateLimited, of which it is a kind
    if isinstance(error, QuotaExceeded):
        return f"You exceeded your current quota: {error.message}"
    if isinstance(error, RateLimited) and "rate limit" not in error.message.lower():
        return f"Rate limit reached: {error.message}"
    if error.code in CONTENT_FILTER:
        lead = "Your request was rejected as a result of the safety system"
        return f"{lead}: {error.message} ({CONTENT_FILTER[1]})"
    return error.message


def _overflow(error: ContextOverflow) -> str:
    limit, prompt, requested = error.limit, error.prompt_tokens, error.requested_tokens
    named = (error.param or "").partition("[")[0]
    what = named if named in _TEXTS else "prompt"
    lead = "Your input exceeds the context window of this model. " if what == "input" else ""
    advice = f"Please reduce the length of the {what}"
    lead += f"This model's maximum context length is {limit} tokens. However, "
    if prompt is None:
        return f"{lead}{error.message}. {advice}."
    if prompt <= limit and requested:
        return (
            f"{lead}you requested {prompt + requested} tokens ({prompt} in the {what},"
            f" {requested} in the completion). {advice} or completion."
        )
    return f"{lead}your {what} resulted in {prompt} tokens. {advice}."
