"""Errors that a step answers with, and how they travel.

Triton's error codes do not survive ensembles and streams, so a refusal is written into the message
itself, after a marker, as one JSON object. An error that is not a `StepError` is nobody's promise:
it is logged, and the caller learns no more than that the backend failed.

    StepError            carries code, param, message, status
    ├── InvalidInput     400, the caller can mend it
    │   └── ContextOverflow  more tokens than the context holds, with the numbers
    └── Unavailable      503, try again later
"""

import json

MARKER = "toolkit-error:"


class StepError(Exception):
    """What a step tells its caller. `param` names the field that is to blame, if one is."""

    status = 500
    triton_code = "INTERNAL"

    def __init__(self, message: str, *, code: str = "backend_error", param: str | None = None):
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param

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
