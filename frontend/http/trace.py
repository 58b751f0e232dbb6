"""What is known about the request that is being handled, for its answer's ids and its log line.

No prompt and no answer ever gets in here.
"""

import contextvars
import logging
import re
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Scope

from frontend.domain.identity import ANONYMOUS, Caller, Owner
from frontend.domain.usage import Usage
from frontend.errors import GatewayError

_log = logging.getLogger(__name__)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATH_SHOWN = 200
_current: contextvars.ContextVar["Trace"] = contextvars.ContextVar("trace")


@dataclass(slots=True)
class Trace:
    """One request. `id` is the gateway's own and unique, `request_id` may be the client's."""

    id: str
    request_id: str
    method: str
    path: str
    caller: Caller = ANONYMOUS
    start_s: float = field(default_factory=time.perf_counter)
    status: int = 0
    model: str | None = None
    usage: Usage | None = None
    error: str | None = None
    ends: ExitStack = field(default_factory=ExitStack)
    """What is given back when the request is over."""
    warnings: list[str] = field(default_factory=list)
    """What the client is to know about its request; told in a header, if it comes in time."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the caller's fields are called that errors name as the contract does."""

    @classmethod
    def begin(cls, scope: Scope) -> "Trace":
        """For a request that just came in; makes it the current one of this task."""
        own = uuid.uuid4().hex
        trace = cls(own, _clients_id(scope) or own, scope["method"], scope["path"][:_PATH_SHOWN])
        _current.set(trace)
        return trace

    @property
    def owner(self) -> Owner:
        """Whose request it is, for what shares memory and processes between callers."""
        return Owner(self.caller.name, self.ends)

    @property
    def engine_id(self) -> str:
        """What the engine knows the request by, and on whose behalf it comes."""
        return f"{self.caller.name}/{self.id}"

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the request came in."""
        return (time.perf_counter() - self.start_s) * 1000

    def failed(self, error: Exception) -> GatewayError:
        """What the client is told. Anything but a GatewayError is ours to find, in the log."""
        if not isinstance(error, GatewayError):
            _log.exception("request %s", self.id, exc_info=error)
            text = f"the gateway failed; the operator finds why in the log as {self.id}"
            error = GatewayError(text)
        self.error = error.code or error.type
        error.rename(self.names)
        return error

    def line(self) -> str:
        """The log line: one JSON object, in which no value can break out of its line."""
        shown: dict[str, Any] = {"request_id": self.request_id, "id": self.id}
        shown |= {"method": self.method, "path": self.path, "status": self.status}
        shown |= {"ms": round(self.elapsed_ms, 1), "model": self.model, "error": self.error}
        if self.caller is not ANONYMOUS:
            shown["caller"] = self.caller.name
        if self.usage is not None:
            shown["prompt_tokens"] = self.usage.prompt_tokens
            shown["completion_tokens"] = self.usage.completion_tokens
        return orjson.dumps({k: v for k, v in shown.items() if v is not None}).decode()


def current() -> Trace:
    """The trace of the request that is being handled."""
    return _current.get()


def _clients_id(scope: Scope) -> str | None:
    """The client's own id, when it sends a sane one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return None
