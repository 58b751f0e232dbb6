"""What surrounds every request: who may make it, the shape of its error, and its log line."""

import gc
import re
import weakref
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from frontend.accounts.authorize import Authorizer
from frontend.accounts.keys import Keys
from frontend.domain.identity import Permission
from frontend.domain.request import Dialect, Outcome, Request
from frontend.domain.usage import Usage
from frontend.errors import InvalidRequest
from frontend.http.body import ClientGone
from frontend.http.client import Client
from frontend.http.middleware import Middleware, log_fields
from frontend.http.routing import Area, Handler, Route, Routes
from frontend.http.sites import Sites
from tests.support.upstream import outcome

ANY = Sites(hosts=None, origins=None)


async def no_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError


AREAS = [Area("/anthropic", Dialect.ANTHROPIC), Area("/ollama", Dialect.OLLAMA)]


def serving(
    handler: Handler, authorizer: Authorizer | None = None, sites: Sites = ANY, **more: Any
) -> Middleware:
    routes = [
        Route("POST", "/openai", Dialect.OPENAI, Permission.INFER, handler, **more),
        Route("POST", "/anthropic", Dialect.ANTHROPIC, Permission.INFER, handler),
        Route("POST", "/ollama", Dialect.OLLAMA, Permission.INFER, handler),
    ]
    return Middleware(
        Routes(routes, AREAS),
        sites,
        authorizer or Authorizer(None, None, open=True),
        60,
        5,
        no_lifespan,
    )


async def call(app: Middleware, path: str, method: str = "POST", **headers: str) -> tuple[int, Any]:
    """The status and the body; the headers must have the ids."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    await app(scope, receive, send)
    if not sent:
        return 0, None
    names = [name for name, _ in sent[0]["headers"]]
    assert b"x-request-id" in names
    assert (b"request-id" in names) == (path.startswith("/anthropic"))
    return sent[0]["status"], orjson.loads(sent[1]["body"] or b"null")


async def refuse(request: Request, client: Client) -> None:
    raise InvalidRequest("'max_tokens' is wrong", param="max_tokens")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/{}", "POST", 400),
        ("/{}", "GET", 405),
        ("/{}/below", "POST", 404),
    ],
)
async def test_every_failure_has_the_shape_of_the_routes_dialect(
    path: str, method: str, status: int
) -> None:
    app = serving(refuse)
    for name, of in {
        "openai": lambda body: body["error"]["code"],
        "anthropic": lambda body: body["error"]["type"] + body["request_id"],
        "ollama": lambda body: body["error"] + "",
    }.items():
        answered, body = await call(app, path.format(name), method)
        assert answered == status
        of(body)


async def test_an_unknown_path_has_openais_shape() -> None:
    status, body = await call(serving(refuse), "/other")
    assert (status, body["error"]["code"]) == (404, "not_found")


async def test_a_bug_is_an_internal_error_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(request: Request, client: Client) -> None:
        raise RuntimeError("secret")

    status, body = await call(serving(crash), "/openai")
    assert (status, body["error"]["code"]) == (500, "internal_error")
    assert "secret" not in str(body)
    assert "secret" in caplog.text
    assert body["error"]["message"].split()[-1] in caplog.text


async def test_the_caller_is_known_before_the_route_runs(tmp_path: Any) -> None:
    async def answer(request: Request, client: Client) -> None:
        await client.respond(orjson.dumps(request.user))

    file = tmp_path / "keys"
    file.write_text("")
    closed = Authorizer(Keys(file), None, open=False)
    assert (await call(serving(answer, closed), "/openai"))[0] == 401
    assert await call(serving(answer), "/openai") == (200, "anonymous")
    local = serving(answer, closed, local=True)
    assert (await call(local, "/openai"))[0] == 401, "no address, so not this machine's"


async def test_other_sites_are_refused_on_every_path() -> None:
    app = serving(refuse, sites=Sites(hosts=None, origins=re.compile("(?!)")))
    for path in ("/openai", "/other"):
        status, body = await call(app, path, origin="https://evil.example")
        assert (status, body["error"]["param"]) == (403, "origin")


async def test_a_client_that_left_gets_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def leave(request: Request, client: Client) -> None:
        raise ClientGone("client_stalled")

    caplog.set_level("INFO", "frontend.access")
    assert await call(serving(leave), "/openai") == (0, None)
    assert '"error":"client_stalled"' in caplog.text


async def test_fields_have_the_callers_names() -> None:
    async def renamed(request: Request, client: Client) -> None:
        request.outcome.names = {"max_tokens": "num_predict"}
        await refuse(request, client)

    _, body = await call(serving(renamed), "/openai")
    assert body["error"]["param"] == "num_predict"
    assert "'num_predict'" in body["error"]["message"]


class Body(bytearray):
    """One that weak references can follow."""


async def test_a_refused_request_leaves_nothing_in_memory() -> None:
    bodies: list[weakref.ref[Body]] = []

    async def hold(request: Request, client: Client) -> None:
        body = Body(1000)
        bodies.append(weakref.ref(body))
        try:
            raise ValueError(body)
        except ValueError:
            raise InvalidRequest("no") from None

    gc.disable()
    try:
        assert (await call(serving(hold), "/openai"))[0] == 400
        assert bodies[0]() is None
    finally:
        gc.enable()


@given(st.text(), st.text(max_size=80))
def test_a_line_has_the_route_and_never_the_path(path: str, error: str) -> None:
    about = Outcome("id", "client-id", "GET", path, error=error)
    assert "path" not in log_fields(about)
    assert (log_fields(about)["route"], log_fields(about)["error"]) == ("unknown", error)


async def test_a_sane_id_is_the_clients_and_the_other_one_never_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "frontend.access")
    for given_id in ("abc-1", "abc-1", "a\nb", "a" * 65, "sk-a-secret-key-of-someone"):
        await call(serving(refuse), "/openai", x_request_id=given_id)
    lines = [orjson.loads(record.getMessage()) for record in caplog.records]
    assert [line["request_id"] == "abc-1" for line in lines] == [True, True, False, False, False]
    assert len({line["id"] for line in lines} | {"abc-1"}) == 6


def test_usage_and_model_are_logged() -> None:
    about = outcome()
    about.model, about.usage = "m", Usage(3, 0, 4)
    record = log_fields(about)
    assert (record["model"], record["prompt_tokens"], record["completion_tokens"]) == ("m", 3, 4)
    assert "error" not in record
