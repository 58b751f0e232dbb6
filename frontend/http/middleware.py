"""What surrounds every request: its ids, its time, its error's shape, its one log line.

Pure ASGI, outermost. A failure before the first byte becomes an error response; one after it has
been told in the stream already, and is only logged here.
"""

import logging

from starlette.exceptions import HTTPException
from starlette.routing import Match, Router
from starlette.types import Message, Receive, Scope, Send

from frontend.dialects.anthropic.failures import render_error as render_anthropic_error
from frontend.dialects.anthropic.failures import status_of
from frontend.dialects.ollama.failures import render_error as render_ollama_error
from frontend.dialects.openai.failures import render_error
from frontend.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound
from frontend.http.client import ClientGone
from frontend.http.send import send_bytes, warning
from frontend.http.sites import Sites
from frontend.http.trace import Trace

ANTHROPIC = "/v1/messages"
_log = logging.getLogger("frontend.access")


class Frame:
    """Wraps the router."""

    def __init__(self, router: Router, sites: Sites) -> None:
        self._router = router
        self._sites = sites

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        trace = Trace.begin(scope)

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                message["headers"] += _headers(trace)
            await send(message)

        try:
            self._sites.check(scope["headers"])
            await self._router(scope, receive, framed)
        except ClientGone as gone:
            trace.error = gone.reason
        except Exception as error:  # the one place that turns every failure into a response
            failure = trace.failed(self._of_routing(error, scope))
            if not trace.status:
                await send_error(framed, failure, trace)
            _release(failure)
        finally:
            trace.ends.close()
            _log.info("%s", trace.line())

    def _of_routing(self, error: Exception, scope: Scope) -> Exception:
        """The router's own exceptions as the gateway's; any other as it is."""
        if not isinstance(error, HTTPException):
            return error
        if error.status_code == 404:
            return NotFound("there is no such route; see /v1/models for a start")
        if error.status_code == 405:
            return MethodNotAllowed(self._methods(scope))
        return InvalidRequest(str(error.detail))

    def _methods(self, scope: Scope) -> list[str]:
        """What the path of a request can be asked with; each method has a route of its own."""
        found: set[str] = set()
        for route in self._router.routes:
            if route.matches(scope)[0] is not Match.NONE:
                found |= getattr(route, "methods", None) or set()
        return sorted(found)


def _release(error: Exception) -> None:
    """Lets go of what led to an error: it refers to the frame that refers to it, and the request's
    body would stay in memory until the next collection of garbage."""
    error.__traceback__ = error.__context__ = error.__cause__ = None


def _headers(trace: Trace) -> list[tuple[bytes, bytes]]:
    request_id = trace.request_id.encode()
    headers = [
        (b"x-request-id", request_id),
        (b"openai-processing-ms", b"%d" % trace.elapsed_ms),
    ]
    if trace.path.startswith(ANTHROPIC):
        headers.append((b"request-id", request_id))  # where Anthropic's clients look
    return [*headers, *warning(trace.warnings)]


async def send_error(send: Send, error: GatewayError, trace: Trace) -> None:
    """An error response in the shape of the dialect whose route it is."""
    headers, status = [], error.status
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.methods).encode()))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if trace.path.startswith("/api/"):
        body = render_ollama_error(error)
    elif trace.path.startswith(ANTHROPIC):
        body, status = render_anthropic_error(error, trace.request_id), status_of(error)
    else:
        body = render_error(error)
    await send_bytes(send, body, status=status, headers=headers)
