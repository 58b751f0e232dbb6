"""The code that the routes of accounts share: the actor, the body, a page, an answer."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import orjson

from frontend.accounts.authorize import secret_of
from frontend.accounts.cookies import Cookies
from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.keys import Budget
from frontend.accounts.sessions import Sessions, mark_of
from frontend.dialects.admin.answers import Shown, render, render_page
from frontend.dialects.admin.bodies import KeyBudget
from frontend.dialects.admin.query import is_newest, parse_query, read_ids
from frontend.dialects.declare import Body
from frontend.dialects.read import read
from frontend.domain.identity import Network
from frontend.domain.request import Request
from frontend.errors import InvalidRequest
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.http.source import source_of
from frontend.store.records import Range

T = TypeVar("T", bound=Body)
_MAX_KEY = 128
_PRIVATE = [(b"cache-control", b"no-store")]
"""Answers may hold secrets, so proxies and browsers must not keep them."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Reads requests of the accounts API and answers them. Unknown fields are always refused."""

    bounds: Bounds
    proxies: tuple[Network, ...] = ()

    async def read(self, request: Request, client: Client, kind: type[T]) -> tuple[T, Actor]:
        """The body, and the user who sends it. Raises InvalidRequest, naming the field, if the body
        is not valid."""
        given: Any = await client.read_json(self.bounds.body) if _has_body(client) else {}
        return read(kind, given), self.actor(request, client, given)

    def actor(self, request: Request, client: Client, body: Any = None) -> Actor:
        """Who sends the request, with the rights of the key."""
        caller = request.caller
        line = [request.outcome.method, request.outcome.path, body]
        return Actor(
            caller.user,
            caller.name,
            caller.role.permissions,
            caller.role.name,
            caller.scope,
            caller.expires_at_us,
            request.outcome.id,
            self.source(client),
            secret_of(client.scope["headers"]),
            _idempotency_key(client),
            # sorted, so that a repeated request is recognised however its fields are ordered
            orjson.dumps(line, option=orjson.OPT_SORT_KEYS),
            caller.key,
        )

    def source(self, client: Client) -> str:
        """The address that the request comes from."""
        return source_of(client.scope, self.proxies)

    async def send_page(
        self,
        client: Client,
        page: Callable[..., Awaitable[Sequence[Any]]],
        show: Callable[[Any], Shown],
        filters: Collection[str] = (),
        **fixed: str,
    ) -> None:
        """One page of a list, as the URL's query asks for it."""
        query = parse_query(client.scope["query_string"], filters)
        given = query.filters
        # one row more says whether there is a next page
        range_ = Range(
            query.limit + 1,
            query.after,
            given.pop("search", ""),
            read_ids(given.pop("ids", "")),
            is_newest(given.pop("order", "oldest")),
        )
        rows = await page(range_, **given, **fixed)
        await client.respond(render_page(rows, query.limit, show), headers=_PRIVATE)

    async def send(self, client: Client, shown: Shown, status: int = 200) -> None:
        """One object."""
        await client.respond(render(shown), status=status, headers=_PRIVATE)


@dataclass(frozen=True, slots=True)
class Browsers:
    """Says which session and which known browser a request comes from, for guesses of passwords."""

    sessions: Sessions
    cookies: Cookies

    async def place(self, client: Client, actor: Actor) -> Actor:
        """The actor with `session` and `browser`."""
        headers = client.scope["headers"]
        token, cookie = (self.cookies.read(headers, name) for name in ("session", "browser"))
        # a request with a key does not use the session, even where it has a cookie of one
        session = "" if actor.key or not token else mark_of(token)
        browser = await self.sessions.known_browser(actor.name, cookie[:500].decode("latin-1"))
        return replace(actor, session=session, browser=browser)


def key_budget(body: KeyBudget | None) -> Budget | None:
    """The budget of a new key."""
    return None if body is None else Budget(body.tokens, body.period)


def parameter(client: Client, name: str = "id") -> str:
    """A part of the path."""
    return str(client.scope["path_params"][name])


def _has_body(client: Client) -> bool:
    """Whether a body follows the head; not every request needs one."""
    for name, value in client.scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return False


def _idempotency_key(client: Client) -> str:
    keys = [value for name, value in client.scope["headers"] if name == b"idempotency-key"]
    if not keys:
        return ""
    text: str = keys[0].decode("latin-1")
    if len(keys) > 1 or not (1 <= len(text) <= _MAX_KEY and text.isascii() and text.isprintable()):
        raise InvalidRequest(
            f"the header 'Idempotency-Key' must be 1 to {_MAX_KEY} printable ASCII characters",
            param="idempotency-key",
        )
    return text
