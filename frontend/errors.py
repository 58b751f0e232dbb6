"""Everything that can go wrong, once. Each class knows its HTTP status; a dialect knows its shape.

GatewayError
├── InvalidRequest     400  the caller's mistake; names the field
│   ├── ContextOverflow     more tokens than the model's context holds; carries the numbers
│   ├── UnknownFields       fields of a body that the route does not know
│   └── NotCapable          the model cannot do what the route does
├── Unauthorized       401  no key, or an invalid one
├── Forbidden          403  known, but not for this caller
├── NotFound           404  no such route or model
│   └── ModelNotFound       carries the name
├── MethodNotAllowed   405
├── ClientTimeout      408  the body did not arrive in time
├── Conflict           409  something like it exists, or depends on it
├── TooLarge           413  a body beyond its bound
├── UnsupportedMedia   415  not JSON
├── RateLimited        429  the caller's own limit
│   └── QuotaExceeded       a budget is used up; names it, and says when it is whole again
├── Overloaded         503  the gateway's queue is full, or it is draining
├── NotSupported       501  known, and not supported here
├── BackendFailed      502  a model failed; details are only in the log
├── BackendTimeout     504  the deadline passed
├── BackendUnavailable 503  the model is not available (yet)
│   ├── UpstreamLost        its server cannot be reached
│   └── UpstreamBusy        its server does not accept more requests now
├── AuditUnavailable   503  the audit has no room, and the group's policy refuses to go without
└── StoreUnavailable   503  the database cannot be reached; `reason` says why

Clients read some of these by their text. Each dialect says them in its own API's words, from the
facts that an error carries (`frontend.dialects.*.failures`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Self

MAX_MESSAGE = 500
MAX_PARAM = 200
MAX_UPSTREAM_TEXT = 4000
MAX_RETRY_MS = 120_000
"""What `retry-after` says at most: OpenAI's clients do not retry after more."""


class GatewayError(Exception):
    """Base of all errors for clients; `message` never contains a backend's own text.

    Messages quote what a caller sent, so their length is limited.
    """

    status = 500
    type = "api_error"
    code: str | None = "internal_error"
    retry_after_s: int | None = None
    upstream_text = ""
    """The words of an upstream's error. Only the audit of groups that keep text may have them."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        self.message = clip(message, MAX_MESSAGE)
        super().__init__(self.message)
        self.param = None if param is None else clip(param, MAX_PARAM)
        if code is not None:
            self.code = code

    def caused_by(self, text: str) -> Self:
        """The same error with the words of an upstream's."""
        self.upstream_text = clip(text, MAX_UPSTREAM_TEXT)
        return self

    def rename(self, names: Mapping[str, str]) -> None:
        """Replaces names of fields; `names` has the new names by the old ones."""
        if self.param is not None:
            self.param = _renamed(self.param, names)
        self.message = _QUOTED.sub(lambda m: f"'{_renamed(m[1], names)}'", self.message)


_QUOTED = re.compile(r"'([a-z_]+(?:[.\[][\w.\[\]]{0,200})?)'")


def _renamed(path: str, names: Mapping[str, str]) -> str:
    """Replaces the longest prefix of a path that has a new name."""
    for end in [len(path), *(m.start() for m in reversed([*re.finditer(r"[.\[]", path)]))]:
        if (name := names.get(path[:end])) is not None:
            return name + path[end:]
    return path


def clip(text: str, most: int) -> str:
    """At most `most` characters of a text; a cut text ends with '…'."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class InvalidRequest(GatewayError):
    """The request is not valid; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    code: str | None = None


class ContextOverflow(InvalidRequest):
    """More tokens than the model's context holds: `prompt_tokens` and, where they make it too
    many, `requested_tokens` of the answer. None: not counted, `message` says what is too large."""

    code = "context_length_exceeded"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        limit: int,
        prompt_tokens: int | None = None,
        requested_tokens: int = 0,
    ) -> None:
        super().__init__(message, param=param)
        self.limit = limit
        self.prompt_tokens = prompt_tokens
        self.requested_tokens = requested_tokens


class UnknownFields(InvalidRequest):
    """A body has fields that the route does not know: `names` are all of them."""

    code = "unknown_parameter"

    def __init__(self, message: str, *, names: Sequence[str]) -> None:
        super().__init__(message, param=names[0])
        self.names = frozenset(names)


class NotCapable(InvalidRequest):
    """The model `model`, as the caller calls it, cannot do `capability`."""

    code = "model_not_supported"

    def __init__(self, message: str, *, model: str, capability: str) -> None:
        super().__init__(message, param="model")
        self.model = model
        self.capability = capability


class Unauthorized(GatewayError):
    """No key, or an invalid one."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(GatewayError):
    """The caller may not do that."""

    status = 403
    type = "permission_error"
    code = "forbidden"


class NotFound(GatewayError):
    """No such route or model."""

    status = 404
    type = "invalid_request_error"
    code: str | None = "not_found"


class ModelNotFound(NotFound):
    """No model answers to the name `model`."""

    code = "model_not_found"

    def __init__(self, model: str) -> None:
        self.model = model[:100]
        super().__init__(
            f"the model '{self.model}' does not exist; GET /v1/models lists the models",
            param="model",
        )


class MethodNotAllowed(GatewayError):
    """The route exists, for another method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, methods: list[str]) -> None:
        super().__init__(f"this route accepts {', '.join(methods)}")
        self.methods = methods


class ClientTimeout(GatewayError):
    """The body did not arrive in time."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class Conflict(GatewayError):
    """Something that exists is in the way of the change."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"


class TooLarge(GatewayError):
    """A body or list beyond its bound."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMedia(GatewayError):
    """A body that is not JSON."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class RateLimited(GatewayError):
    """The caller reached a limit of its own."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        *,
        wait_us: int | None = 2_000_000,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        """`wait_us`: when it can succeed; None: never as it is."""
        super().__init__(message, param=param, code=code)
        wait_ms = MAX_RETRY_MS if wait_us is None else -(-wait_us // 1000)
        self.may_retry = wait_us is not None and wait_ms <= MAX_RETRY_MS
        self.retry_after_ms = min(max(wait_ms, 1), MAX_RETRY_MS)
        self.retry_after_s = -(-self.retry_after_ms // 1000)


class QuotaExceeded(RateLimited):
    """A budget or the credits are used up: to try again soon does not help."""

    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self, message: str, *, wait_us: int | None = None) -> None:
        super().__init__(message, wait_us=wait_us)
        self.may_retry = False


class Overloaded(GatewayError):
    """The gateway cannot take the request now; the same request may succeed later."""

    status = 503
    type = "server_error"
    code = "overloaded"
    retry_after_s = 2


class NotSupported(GatewayError):
    """Something that the dialect has and this gateway does not support."""

    status = 501
    type = "invalid_request_error"
    code = "not_supported"


class BackendFailed(GatewayError):
    """A model failed in a way that is not the caller's doing."""

    status = 502
    type = "server_error"
    code = "backend_error"


class BackendTimeout(GatewayError):
    """The request's deadline passed."""

    status = 504
    type = "server_error"
    code = "timeout"


class BackendUnavailable(GatewayError):
    """A model, or the server that serves it, is not available now."""

    status = 503
    type = "server_error"
    code = "backend_unavailable"
    retry_after_s = 2


class UpstreamLost(BackendUnavailable):
    """The server cannot be reached: none of its models can be used."""


class UpstreamBusy(BackendUnavailable):
    """The server is healthy and does not accept more requests now."""


class AuditUnavailable(GatewayError):
    """The request's record could be lost, which the policy of the caller's group forbids."""

    status = 503
    type = "server_error"
    code = "audit_unavailable"
    retry_after_s = 2

    def __init__(self) -> None:
        super().__init__(
            "the audit cannot record the request now, and the policy of your group requires it;"
            " try again later"
        )


class StoreUnavailable(GatewayError):
    """The database cannot be reached. `reason`, for operators, says which and why."""

    status = 503
    type = "server_error"
    code = "store_unavailable"
    retry_after_s = 2

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__("the gateway's database is not available now; try again later")
