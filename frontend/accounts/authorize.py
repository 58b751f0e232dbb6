"""Finds the caller of a request by its key or session, and checks that they may use the route.

It reads headers and permissions, not paths: the route table lists what each route needs. A
permission that a role does not have, and a route or source that the key's scope does not list, are
denied.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from frontend.accounts.callers import Callers
from frontend.accounts.cookies import Cookies, is_csrf, presented_csrf
from frontend.accounts.credentials import Credential, parse_key
from frontend.accounts.keys import Keys
from frontend.accounts.roles import allows
from frontend.accounts.scopes import allows_endpoint, allows_source
from frontend.accounts.sessions import Sessions
from frontend.accounts.throttle import Throttle, subject_of
from frontend.domain.identity import ANONYMOUS, UNLIMITED, Caller, Permission
from frontend.errors import Forbidden, RateLimited, Unauthorized

Headers = Iterable[tuple[bytes, bytes]]
_BEARER = b"bearer "
READING = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request for a route. `path` is the route table's; `source` is called only if needed."""

    headers: Headers
    permission: Permission
    path: str
    source: Callable[[], str]
    identified: Callable[[Caller], None]
    """Called with the caller, also with one who may not use the route."""
    method: str = "GET"


@dataclass(slots=True)
class Authorizer:
    """Finds callers in a key file, a database, both or neither.

    `open`: a caller without a valid key is anonymous.
    """

    file: Keys | None
    callers: Callers | None
    open: bool
    throttle: Throttle = field(default_factory=Throttle)
    sessions: Sessions | None = None
    cookies: Cookies = field(default_factory=lambda: Cookies(secure=False))

    async def authorize(self, attempt: Attempt) -> Caller:
        """The caller, who may use the route.

        Raises Unauthorized without a valid key or session, Forbidden if the role or the key does
        not allow the route, RateLimited after too many wrong keys, and StoreUnavailable while keys
        cannot be read.
        """
        # before any key is looked at: a wrong one must not close /healthz to a load balancer
        if attempt.permission is Permission.PUBLIC:
            return ANONYMOUS
        caller = await self._authenticate(attempt)
        attempt.identified(caller)
        require(caller, attempt.permission)
        if caller.scope is not UNLIMITED:
            _check_scope(caller, attempt)
        return caller

    async def holds(self, headers: Headers, permission: Permission) -> bool:
        """Whether the owner of a stream that was authorized still has the permission. That is not a
        use of a session: a page that is left open must not keep it alive.

        Raises StoreUnavailable while keys and sessions cannot be read.
        """
        caller: Caller | None = None
        if (credential := parse_key(secret_of(headers))) is not None:
            caller = None if self.file is None else self.file.find(credential)
            if caller is None and self.callers is not None:
                with suppress(Unauthorized):  # it has expired or is disabled
                    caller = await self.callers.find(credential)
        elif self.sessions is not None:
            token = self.cookies.read(headers, "session")
            caller = await self.sessions.find(token, lambda: True, counts=False)
        return caller is not None and allows(caller.role, permission)

    async def _authenticate(self, attempt: Attempt) -> Caller:
        secret = secret_of(attempt.headers)
        credential = parse_key(secret) if secret else None
        if credential is not None and (caller := await self._find(credential, attempt)):
            return caller
        if not secret and (caller := await self._find_session(attempt)):
            return caller
        if self.open:  # clients of an open gateway send made-up keys, because their SDK wants one
            return ANONYMOUS
        if not secret:
            raise Unauthorized(
                "an API key is required; send it in the header 'Authorization: Bearer KEY'"
            )
        raise self._refusal(attempt, credential)

    async def _find(self, credential: Credential, attempt: Attempt) -> Caller | None:
        if self.file is not None and (caller := self.file.find(credential)):
            return caller
        if self.callers is None:
            return None
        if not self.callers.is_known(credential):
            # made-up keys cost a read of the database each; valid keys are known after one
            subject = subject_of(attempt.source())
            if self.throttle.is_over(subject) and not self.throttle.try_unknown(subject):
                if self.open:
                    return None
                raise _too_many(1.0)
        return await self.callers.find(credential)

    async def _find_session(self, attempt: Attempt) -> Caller | None:
        token = self.cookies.read(attempt.headers, "session")
        if not token or self.sessions is None:
            return None

        def may_look() -> bool:
            # made-up cookies cost a read of the database each, as made-up keys do
            subject = subject_of(attempt.source())
            return not self.throttle.is_over(subject) or self.throttle.try_unknown(subject)

        caller = await self.sessions.find(token, may_look)
        if caller is None:
            self.throttle.fail([subject_of(attempt.source())])
        if caller is None or attempt.method in READING:
            return caller
        if not is_csrf(token, presented_csrf(attempt.headers)):
            raise Forbidden(
                "a request with a session cookie needs the header 'X-CSRF-Token', which the"
                " gateway's own pages send",
                param="x-csrf-token",
                code="csrf_token_missing",
            )
        return caller

    def _refusal(self, attempt: Attempt, credential: Credential | None) -> Exception:
        subjects = [subject_of(attempt.source())]
        if credential is not None:
            subjects.append(f"key {credential.public_id}")
        if wait_s := self.throttle.fail(subjects):
            return _too_many(wait_s)
        return Unauthorized("the API key is not valid")


def require(caller: Caller, permission: Permission) -> None:
    """Raises Forbidden for a caller without the permission."""
    if not allows(caller.role, permission):
        raise Forbidden(
            f"this requires a key whose role has the permission '{permission.value}', such as"
            " 'admin'; ask the operator for one"
        )


def _check_scope(caller: Caller, attempt: Attempt) -> None:
    if not allows_endpoint(caller.scope, attempt.path):
        raise Forbidden(
            "this API key may not be used for this route; use a key without this limit",
            code="endpoint_not_allowed",
        )
    if caller.scope.networks is not None and not allows_source(caller.scope, attempt.source()):
        raise Forbidden(
            f"this API key may not be used from '{attempt.source()[:60]}'; use a key without this"
            " limit",
            code="source_not_allowed",
        )


def _too_many(wait_s: float) -> RateLimited:
    text = "too many attempts with invalid API keys; wait and try again"
    return RateLimited(text, wait_us=int(wait_s * 1e6), code="too_many_failures")


def secret_of(headers: Headers) -> bytes:
    """The key in a request's headers: OpenAI's and Ollama's, or Anthropic's."""
    secret = b""
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return value[len(_BEARER) :].strip()
        if name == b"x-api-key":
            secret = value.strip()
    return secret
