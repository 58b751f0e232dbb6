"""What surrounds every request: its route, its caller, its ids and time, its error, its log line.

Pure ASGI, the one application below the server. A failure before the first byte becomes an error
response; one after it was written into the stream already, and is only logged here.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.accounts.authorize import READING, Attempt, Authorizer
from frontend.accounts.ledger import Ledger, owner_of
from frontend.audit.record import Recorder
from frontend.domain.caching import NOT_ASKED, CacheUse
from frontend.domain.identity import ANONYMOUS, Caller, Network, Permission
from frontend.domain.request import Dialect, Outcome, Request
from frontend.errors import Forbidden, GatewayError, MethodNotAllowed, NotFound, Unauthorized
from frontend.http.accept import wants_page
from frontend.http.body import ClientGone
from frontend.http.caching import read_ask
from frontend.http.client import Client
from frontend.http.failures import failure_of, send_error
from frontend.http.rates import rate_headers
from frontend.http.routing import Route, Routes
from frontend.http.send import send_bytes, warning
from frontend.http.sites import Sites, is_local
from frontend.http.source import source_of
from frontend.telemetry.logs.redact import looks_secret
from frontend.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from frontend.telemetry.traces.tracing import Tracing

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATH_SHOWN = 200
_MAX_NEXT = 1024
_APIS = ("/v1", "/v2", "/api", "/me", "/admin/", "/static/")
ErrorPage = Callable[[int, str, str], tuple[bytes, list[tuple[bytes, bytes]]]]
_MAX_SESSION = 256
_MOVED = [(b"cache-control", b"no-store"), (b"vary", b"accept, cookie")]
_log = logging.getLogger("frontend.access")


@dataclass(frozen=True, slots=True)
class Middleware:
    """Serves every request. `lifespan` is the application that starts and ends with the server;
    `proxies` are trusted to say where a request comes from."""

    routes: Routes
    sites: Sites
    authorizer: Authorizer
    request_timeout_s: float
    client_timeout_s: float
    lifespan: ASGIApp
    ledger: Ledger | None = None
    proxies: tuple[Network, ...] = ()
    metrics: Metrics | None = None
    recorder: Recorder | None = None
    tracing: "Tracing | None" = None
    error_page: ErrorPage | None = None
    """The page of an error (status, text, id of the request) with its headers, for browsers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.lifespan(scope, receive, send)
            return
        outcome = _outcome_of(scope)
        if self.tracing is not None:
            outcome.trace = self.tracing.begin(outcome, scope["headers"])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                outcome.status = message["status"]
                # read here, since only now is it known whether the request counted in a limit
                message["headers"] += _headers(outcome) + await self._rates(outcome)
                if outcome.is_audited and scope["method"] in ("GET", "HEAD"):
                    message["headers"] += _not_kept(message["headers"])
            await send(message)

        try:
            await self._serve(scope, receive, send_with_headers, outcome)
        except ClientGone as gone:
            outcome.error = gone.reason
        except Exception as error:  # the one place that turns every failure into a response
            failure = failure_of(error, outcome)
            if not outcome.status:
                await self._send_error(scope, send_with_headers, failure, outcome)
            _release(failure)
        finally:
            # whichever way it ends: memory, places in queues and files are given back here
            outcome.cleanup.close()
            if self.metrics is not None:
                self.metrics.answered(outcome)
            if self.recorder is not None:
                self.recorder.end(outcome, source_of(scope, self.proxies))
            log_request(outcome)
            if self.tracing is not None:
                self.tracing.end(outcome)

    async def _send_error(
        self, scope: Scope, send: Send, failure: GatewayError, outcome: Outcome
    ) -> None:
        # programs, and everything below the paths of an API, get errors as they are documented
        is_lost = not outcome.route and not scope["path"].startswith(_APIS)
        is_page = scope["method"] == "GET" and (is_lost or outcome.route in self.routes.pages)
        if self.error_page is None or not is_page or not wants_page(scope["headers"]):
            await send_error(send, failure, outcome)
            return
        # what the router says is for programs
        text = "" if is_lost and failure.status == 404 else str(failure)
        page, headers = self.error_page(failure.status, text, outcome.client_id)
        kind = b"text/html; charset=utf-8"
        await send_bytes(send, page, status=failure.status, headers=headers, kind=kind)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, outcome: Outcome) -> None:
        try:
            # by the path as it was decoded once by the server, never by a URL built from `Host`
            # (CVE-2026-48710)
            route, scope["path_params"] = self.routes.find(scope["method"], scope["path"])
        except (NotFound, MethodNotAllowed):
            outcome.dialect = self.routes.dialect_of(scope["path"])
            # also where no route matches: the answer would tell a foreign page that a gateway is
            # here
            self.sites.check(scope["headers"])
            raise
        outcome.dialect, outcome.route = route.dialect, route.path
        # before the key is looked at, so that a foreign page cannot use one to probe
        self.sites.check(scope["headers"])
        # what asks for no key is asked all day by probes and browsers, and does not concern anybody
        outcome.is_audited = route.permission is not Permission.PUBLIC
        try:
            outcome.caller = await self._authorize(route, scope, outcome)
        except (Unauthorized, Forbidden):
            if not (route.page and wants_page(scope["headers"]) and outcome.caller is ANONYMOUS):
                raise
            await send_bytes(send, b"", status=303, headers=[_to_sign_in(scope), *_MOVED])
            return
        outcome.is_view = _is_view(route, outcome)
        if self.recorder is not None and outcome.is_audited:
            self.recorder.begin(outcome, has_text=route.permission is Permission.INFER)
        if route.permission is Permission.INFER:
            ask = read_ask(scope["headers"])
            outcome.cache = None if ask is NOT_ASKED else CacheUse(ask)
        # from here, so that waiting for the body and for a place counts against the deadline
        deadline_s = time.monotonic() + self.request_timeout_s
        request = Request(
            outcome.id,
            outcome.caller,
            route.dialect,
            deadline_s,
            outcome,
            session=_session_of(scope["headers"]),
        )
        await route.handler(request, Client(request, scope, receive, send, self.client_timeout_s))

    async def _authorize(self, route: Route, scope: Scope, outcome: Outcome) -> Caller:
        if route.local and is_local(scope):
            return ANONYMOUS
        # a function: the address is needed only by keys that are limited to networks, and for
        # failures
        source = partial(source_of, scope, self.proxies)

        def identify(caller: Caller) -> None:
            outcome.caller, outcome.is_authenticated = caller, True

        attempt = Attempt(
            scope["headers"], route.permission, route.path, source, identify, scope["method"]
        )
        return await self.authorizer.authorize(attempt)

    async def _rates(self, outcome: Outcome) -> list[tuple[bytes, bytes]]:
        """What the caller's limits have left, also where the request counts in none of them."""
        # anonymous callers have no limits, and health checks must not cost a read of the database
        if self.ledger is None or not outcome.caller.key:
            return []
        # while the model worked, other requests used some of it, or the period ended
        if outcome.rates is None or not self.ledger.remaining.is_new(outcome.rates):
            outcome.rates = await self.ledger.remaining.read_rates(owner_of(outcome.caller))
        if outcome.rates is None:
            return []
        return rate_headers(outcome.rates, outcome.dialect, self.ledger.clock())


def _not_kept(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What some callers may read is kept by no cache, unless its handler says how long."""
    if any(name == b"cache-control" for name, _ in headers):
        return []
    return [(b"cache-control", b"no-store")]


def _is_view(route: Route, outcome: Outcome) -> bool:
    """A page asks for many things when it opens, and again every few seconds, as does what collects
    metrics. Whose texts a reviewer reads stays on record."""
    if route.permission is Permission.OBSERVE:
        return True
    has_session = outcome.is_authenticated and not outcome.caller.key
    return has_session and outcome.method in READING and route.permission is not Permission.AUDIT


def _to_sign_in(scope: Scope) -> tuple[bytes, bytes]:
    """The form to sign in, which leads back to the page."""
    asked = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    if len(asked) > _MAX_NEXT:
        return b"location", b"/login"
    return b"location", b"/login?next=" + quote_from_bytes(asked, safe="").encode()


def _outcome_of(scope: Scope) -> Outcome:
    own = os.urandom(16).hex()
    # the client's id names the answer, ours the line in the log: clients repeat theirs
    # the path is never logged, since a caller can write anything into it
    client_id = _client_id(scope["headers"]) or own
    return Outcome(own, client_id, scope["method"], scope["path"][:_PATH_SHOWN])


def _client_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The client's own id, when it sends a sane one."""
    for name, value in headers:
        if name == b"x-request-id" and _ID.fullmatch(given := value.decode("latin-1")):
            return None if looks_secret(given) else given
    return None


def _headers(outcome: Outcome) -> list[tuple[bytes, bytes]]:
    client_id = outcome.client_id.encode()
    headers = [
        (b"x-request-id", client_id),
        (b"openai-processing-ms", b"%d" % outcome.elapsed_ms),
    ]
    if outcome.dialect is Dialect.ANTHROPIC:
        headers.append((b"request-id", client_id))  # where Anthropic's clients look
    if outcome.cache is not None and (result := outcome.cache.result):
        headers.append((b"x-cache", result.encode()))
    if outcome.is_estimated:
        headers.append((b"x-usage-estimated", b"true"))
    if outcome.canary and outcome.model is not None:
        headers.append((b"x-served-model", outcome.model.encode()))
    if outcome.queue_position is not None:
        headers.append((b"x-queue-position", b"%d" % outcome.queue_position))
    return [*headers, *warning(outcome.warnings)]


def _release(error: Exception) -> None:
    """Lets go of what led to an error: it refers to the frame that refers to it, and the request's
    body would stay in memory until the next collection of garbage."""
    error.__traceback__ = error.__context__ = error.__cause__ = None


class _Fields(dict[str, Any]):
    """Written as JSON only where a line for people is made of them."""

    def __str__(self) -> str:
        return orjson.dumps(self).decode()


def log_request(outcome: Outcome) -> None:
    """The request's line in the log."""
    if _log.isEnabledFor(logging.INFO):
        fields = _Fields(log_fields(outcome))
        _log.info("%s", fields, extra={"fields": fields})


def log_fields(outcome: Outcome) -> dict[str, Any]:
    """What the log says about a request: only the request's id is text of its caller."""
    shown: dict[str, Any] = {"request_id": outcome.client_id, "id": outcome.id}
    shown |= {"method": outcome.method, "route": outcome.route or "unknown"}
    shown |= {"dialect": outcome.dialect.value, "status": outcome.status}
    shown |= {"ms": round(outcome.elapsed_ms, 1), "model": outcome.model, "error": outcome.error}
    shown["upstream"], shown["trace_id"] = outcome.upstream or None, outcome.trace.id
    if outcome.caller is not ANONYMOUS:
        shown |= {"caller": outcome.caller.name, "user": outcome.caller.user}
        shown |= {"key": outcome.caller.key, "group": outcome.caller.group or None}
    if outcome.first_token_s is not None:
        shown["queue_ms"] = round(outcome.queued_s * 1000, 1)
        shown["first_token_ms"] = round(outcome.first_token_s * 1000, 1)
    if outcome.usage is not None:
        shown["prompt_tokens"] = outcome.usage.prompt_tokens
        shown["completion_tokens"] = outcome.usage.completion_tokens
        shown["usage_estimated"] = True if outcome.is_estimated else None
    return {name: value for name, value in shown.items() if value is not None}


def _session_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's name of a session; empty for none, or for one that is too long."""
    for name, value in headers:
        if name == b"x-session-id" and len(value) <= _MAX_SESSION:
            return value.decode("latin-1")
    return ""
