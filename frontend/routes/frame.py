"""What surrounds every request: its id, its time, its error's shape, its one log line.

Pure ASGI, outermost. A failure before the first byte becomes an error response; one after it has
been told in the stream already, and is only logged here.
"""

import contextvars
import logging
import re
import time
import uuid

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.dialects.openai.failures import render_error
from frontend.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound
from frontend.routes.http import send_bytes

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger("frontend.access")
_current: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")


def request_id() -> str:
    """The id of the request that is being handled."""
    return _current.get()


class Frame:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        chosen = _choose_id(scope)
        _current.set(chosen)

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                elapsed_ms = (time.perf_counter() - start) * 1000
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", chosen.encode()),
                    (b"openai-processing-ms", b"%d" % elapsed_ms),
                ]
            await send(message)

        try:
            await self._app(scope, receive, framed)
        except Exception as error:  # the one place that turns every failure into a response
            failure = _failure(error, chosen)
            if status:
                _log.error("request %s failed after its first byte: %s", chosen, failure.message)
            else:
                await send_error(framed, failure)
        finally:
            elapsed_ms = (time.perf_counter() - start) * 1000
            _log.info(
                "%s %s %s %d %.1fms", chosen, scope["method"], scope["path"], status, elapsed_ms
            )


async def send_error(send: Send, error: GatewayError) -> None:
    """An error response in OpenAI's shape."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    await send_bytes(send, render_error(error), status=error.status, headers=headers)


def _choose_id(scope: Scope) -> str:
    """The client's own id when it sends a sane one, a new one otherwise."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return uuid.uuid4().hex


def _failure(error: Exception, chosen: str) -> GatewayError:
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return NotFound("there is no such route; see /v1/models for a start")
        if error.status_code == 405:
            return MethodNotAllowed("this route does not take that method")
        return InvalidRequest(str(error.detail))
    _log.exception("request %s", chosen, exc_info=error)
    return GatewayError(f"the gateway failed; the operator finds it in the log as {chosen}")
