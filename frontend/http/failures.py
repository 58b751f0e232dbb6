"""Every failure of a request as a response in its route's dialect: the only place that does."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Send

from frontend.dialects.anthropic import failures as anthropic
from frontend.dialects.ollama import failures as ollama
from frontend.dialects.openai import failures as openai
from frontend.domain.request import Dialect, Outcome
from frontend.errors import GatewayError, MethodNotAllowed, RateLimited
from frontend.http.send import send_bytes

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
Render = Callable[[GatewayError, str], bytes]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Format:
    """How a dialect writes an error: as a response, and as the end of a stream that has begun."""

    body: Render
    event: Render
    status: Callable[[GatewayError], int] = lambda error: error.status


FORMATS = {
    Dialect.OPENAI: Format(
        lambda error, _: openai.render_error(error),
        lambda error, _: openai.render_stream_error(error),
    ),
    Dialect.ANTHROPIC: Format(
        anthropic.render_error, anthropic.render_stream_error, anthropic.status_of
    ),
    Dialect.OLLAMA: Format(
        lambda error, _: ollama.render_error(error),
        lambda error, _: ollama.render_error(error),
    ),
}


def failure_of(error: Exception, outcome: Outcome) -> GatewayError:
    """The error for the client. Details of anything but a GatewayError are only in the log."""
    if not isinstance(error, GatewayError):
        _log.exception("request %s", outcome.id, exc_info=error, extra={"id": outcome.id})
        # the text of an unknown exception may hold a prompt, a path or SQL
        error = GatewayError(f"internal error; request id {outcome.id}")
    outcome.error = error.code or error.type
    # fields have the canonical name in errors, and the caller wrote its dialect's
    error.rename(outcome.names)
    return error


def render_event(error: Exception, outcome: Outcome) -> bytes:
    """The end of a stream that has begun."""
    return FORMATS[outcome.dialect].event(failure_of(error, outcome), outcome.client_id)


async def send_error(send: Send, error: GatewayError, outcome: Outcome) -> None:
    """An error response."""
    written = FORMATS[outcome.dialect]
    headers = []
    # bodies of Ollama's and Anthropic's dialects have no place for it; an engine's own code may
    # have any characters
    if _CODE.fullmatch(code := error.code or error.type):
        headers.append((b"x-error-code", code.encode()))
    # RFC 9110 (section 15.5.2) demands it in a 401
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    # RFC 9110 (section 15.5.6) demands it in a 405
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.methods).encode()))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if isinstance(error, RateLimited):
        # openai-python reads the milliseconds first
        headers.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
        if not error.may_retry:
            # its SDKs retry every 429 unless this header forbids it
            headers.append((b"x-should-retry", b"false"))
    body = written.body(error, outcome.client_id)
    await send_bytes(send, body, status=written.status(error), headers=headers)
