"""The errors that a step returns, and how they are passed through Triton.

Triton drops error codes in ensembles and streams, so a `StepError` is appended to the message as
one JSON object after a marker. Any other exception is an internal error: it is logged, and the
caller sees only that the backend failed.

    StepError            carries code, param, message, status
    ├── InvalidInput     400, the caller can correct it
    │   └── ContextOverflow  more tokens than the context holds, with the numbers
    └── Unavailable      503, try again later
"""

import difflib
import json
from collections.abc import Iterable

MARKER = "toolkit-error:"
MAX_MESSAGE = 500
"""Characters: messages quote parts of the request, which may be of any length."""
_LONGEST_NAME = 64
_LONGEST_PARAM = 200


def clip(text: str, most: int = MAX_MESSAGE) -> str:
    """The text, cut to `most` characters with an ellipsis at the end."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def remedy(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint for an unknown name: the closest known name, or the list of all."""
    names = list(known)
    # comparing takes the product of the lengths
    near = difflib.get_close_matches(name, names, n=1) if len(name) <= _LONGEST_NAME else []
    if near:
        return f"did you mean '{prefix}{near[0]}'?"
    return f"known: {', '.join(names) or 'none'}"


class StepError(Exception):
    """An error for the caller. `param` is the name of the request field at fault, if there is
    one."""

    status = 500
    triton_code = "INTERNAL"

    def __init__(self, message: str, *, code: str = "backend_error", param: str | None = None):
        self.message = clip(message)
        super().__init__(self.message)
        self.code = code
        self.param = None if param is None else clip(param, _LONGEST_PARAM)

    def __str__(self) -> str:
        """The message for people, then the marker and the JSON object."""
        fields = {
            "code": self.code,
            "param": self.param,
            # again, because Triton puts "in ensemble 'x', " before the text on the way
            "message": self.message,
            "status": self.status,
            **self.facts(),
        }
        return f"{self.message} {MARKER}{json.dumps(fields)}"

    def facts(self) -> dict[str, object]:
        """Further fields of the JSON object, for the gateway's own error message."""
        return {}


class InvalidInput(StepError):
    """The request is invalid."""

    status = 400
    triton_code = "INVALID_ARG"

    def __init__(self, message: str, *, code: str = "invalid_value", param: str | None = None):
        super().__init__(message, code=code, param=param)


class ContextOverflow(InvalidInput):
    """Prompt and requested tokens exceed the model's context length."""

    def __init__(
        self,
        message: str,
        *,
        param: str,
        limit: int,
        prompt_tokens: int | None = None,
        requested_tokens: int = 0,
    ):
        super().__init__(message, code="context_length_exceeded", param=param)
        self.limit = limit
        self.prompt_tokens = prompt_tokens
        self.requested_tokens = requested_tokens

    def facts(self) -> dict[str, object]:
        names = ("limit", "prompt_tokens", "requested_tokens")
        return {"context": {name: getattr(self, name) for name in names}}


class Unavailable(StepError):
    """The request is valid, but the step cannot serve it now."""

    status = 503
    triton_code = "UNAVAILABLE"

    def __init__(self, message: str, *, code: str = "engine_unavailable"):
        super().__init__(message, code=code)
