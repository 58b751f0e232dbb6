"""Errors that a step answers with, and how they travel.

Triton's error codes do not survive ensembles and streams, so a refusal is written into the message
itself, after a marker, as one JSON object. An error that is not a `StepError` is nobody's promise:
it is logged, and the caller learns no more than that the backend failed.

    StepError            carries code, param, message, status
    ├── InvalidInput     400, the caller can mend it
    │   └── ContextOverflow  more tokens than the context holds, with the numbers
    └── Unavailable      503, try again later
"""

import difflib
import json
from collections.abc import Iterable

MARKER = "toolkit-error:"
MAX_MESSAGE = 500
"""Characters: messages name what a request brought, which may be of any length."""
_LONGEST_NAME = 64
_LONGEST_PARAM = 200


def clip(text: str, most: int = MAX_MESSAGE) -> str:
    """At most so many characters of a text, with a mark where the rest was."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def remedy(name: str, known: Iterable[str], prefix: str = "") -> str:
    """What to say of an unknown name: the known one that is most like it, or all of them."""
    names = list(known)
    # comparing takes the product of the lengths
    near = difflib.get_close_matches(name, names, n=1) if len(name) <= _LONGEST_NAME else []
    if near:
        return f"did you mean '{prefix}{near[0]}'?"
    return f"known: {', '.join(names) or 'none'}"


class StepError(Exception):
    """What a step tells its caller. `param` names the field that is to blame, if one is."""

    status = 500
    triton_code = "INTERNAL"

    def __init__(self, message: str, *, code: str = "backend_error", param: str | None = None):
        self.message = clip(message)
        super().__init__(self.message)
        self.code = code
        self.param = None if param is None else clip(param, _LONGEST_PARAM)

    def __str__(self) -> str:
        """The text that crosses Triton: the message for people, then the marked object."""
        fields = {
            "code": self.code,
            "param": self.param,
            "message": self.message,
            "status": self.status,
            **self.facts(),
        }
        return f"{self.message} {MARKER}{json.dumps(fields)}"

    def facts(self) -> dict[str, object]:
        """What else the gateway must know in order to say it in a dialect's words."""
        return {}


class InvalidInput(StepError):
    """The request cannot be served as it stands."""

    status = 400
    triton_code = "INVALID_ARG"

    def __init__(self, message: str, *, code: str = "invalid_value", param: str | None = None):
        super().__init__(message, code=code, param=param)


class ContextOverflow(InvalidInput):
    """More tokens than the model's context holds, those that were asked for included."""

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
    """The request is fine and the step cannot serve it now."""

    status = 503
    triton_code = "UNAVAILABLE"

    def __init__(self, message: str, *, code: str = "engine_unavailable"):
        super().__init__(message, code=code)
