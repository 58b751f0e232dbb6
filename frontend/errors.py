"""Everything that can go wrong, once. Each class knows its HTTP status; a dialect knows its shape.

GatewayError
├── InvalidRequest     400  the caller's mistake; names the field
├── Unauthorized       401  no key, or one that nobody has
├── Forbidden          403  known, but not for this caller
├── NotFound           404  no such route or model
├── MethodNotAllowed   405
├── ClientTimeout      408  the body did not come in time
├── TooLarge           413  a body beyond its bound
├── UnsupportedMedia   415  not JSON
├── RateLimited        429  the caller's own limit
├── Overloaded         503  the gateway's queue is full, or it is draining
├── NotSupported       501  known, and not done here
├── BackendFailed      502  a model failed; details are in the log alone
├── BackendTimeout     504  the deadline passed
└── BackendUnavailable 503  Triton or the model is not there (yet)
"""


class GatewayError(Exception):
    """Base of what clients are told; `message` never holds a backend's own text."""

    status = 500
    type = "api_error"
    code: str | None = "internal_error"
    retry_after_s: int | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


class InvalidRequest(GatewayError):
    """The request cannot be honoured as it stands; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    code = None


class Unauthorized(GatewayError):
    """No key, or one that nobody has."""

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
    code = "not_found"


class MethodNotAllowed(GatewayError):
    """The route exists, for another method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, methods: list[str]) -> None:
        super().__init__(f"this route takes {', '.join(methods)}")
        self.methods = methods


class ClientTimeout(GatewayError):
    """The body did not come in time."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


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
    retry_after_s = 2


class Overloaded(GatewayError):
    """The gateway cannot take the request now; the same request may succeed later."""

    status = 503
    type = "server_error"
    code = "overloaded"
    retry_after_s = 2


class NotSupported(GatewayError):
    """What a dialect knows and this gateway has no use for."""

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
    """Triton, or the model in it, is not there now."""

    status = 503
    type = "server_error"
    code = "backend_unavailable"
    retry_after_s = 2
