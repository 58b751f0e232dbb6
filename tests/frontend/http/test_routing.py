"""Routes are found by path and method; a path without a route still has a dialect."""

from itertools import product

import pytest

from frontend.domain.identity import Permission
from frontend.domain.request import Dialect, Request
from frontend.errors import MethodNotAllowed, NotFound
from frontend.http.client import Client
from frontend.http.routing import Area, Route, Routes


async def handle(request: Request, client: Client) -> None: ...


def route(method: str, path: str, dialect: Dialect = Dialect.OPENAI) -> Route:
    return Route(method, path, dialect, Permission.INFER, handle)


ROUTES = Routes(
    [
        route("GET", "/v1/models"),
        route("GET", "/v1/models/{model:path}"),
        route("POST", "/v1/responses/input_tokens"),
        route("GET", "/v1/responses/{id}"),
        route("DELETE", "/v1/responses/{id}"),
        route("POST", "/v1/messages", Dialect.ANTHROPIC),
        route("GET", "/"),
        route("POST", "/api/chat", Dialect.OLLAMA),
        route("HEAD", "/api/blobs/{digest}", Dialect.OLLAMA),
    ],
    [Area("/v1/messages", Dialect.ANTHROPIC), Area("/api", Dialect.OLLAMA)],
)


@pytest.mark.parametrize(
    ("method", "path", "found", "parameters"),
    [
        ("GET", "/v1/models", "/v1/models", {}),
        ("HEAD", "/v1/models", "/v1/models", {}),
        ("GET", "/v1/models/a/b:c", "/v1/models/{model:path}", {"model": "a/b:c"}),
        ("GET", "/v1/responses/x", "/v1/responses/{id}", {"id": "x"}),
        ("DELETE", "/v1/responses/x", "/v1/responses/{id}", {"id": "x"}),
        ("HEAD", "/api/blobs/sha256:0", "/api/blobs/{digest}", {"digest": "sha256:0"}),
        ("GET", "/", "/", {}),
    ],
)
def test_a_route_is_found(method: str, path: str, found: str, parameters: dict[str, str]) -> None:
    got, given = ROUTES.find(method, path)
    assert (got.path, given) == (found, parameters)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/models", ["GET", "HEAD"]),
        ("PUT", "/v1/responses/x", ["DELETE", "GET", "HEAD"]),
        ("POST", "/", ["GET", "HEAD"]),
    ],
)
def test_other_methods_are_named(method: str, path: str, allowed: list[str]) -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        ROUTES.find(method, path)
    assert refused.value.methods == allowed


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/models2", "/v1/responses/a/b", "", "//", "/V1/models"]
)
def test_other_paths_do_not_exist(path: str) -> None:
    with pytest.raises(NotFound):
        ROUTES.find("GET", path)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages", Dialect.ANTHROPIC),
        ("/v1/messages/batches", Dialect.ANTHROPIC),
        ("/v1/messages2", Dialect.OPENAI),
        ("/v1/other", Dialect.OPENAI),
        ("/api/other/path", Dialect.OLLAMA),
        ("/apis", Dialect.OPENAI),
        ("/other", Dialect.OPENAI),
        ("/" + "a/" * 10_000, Dialect.OPENAI),
        ("/", Dialect.OPENAI),
        ("/api", Dialect.OLLAMA),
        ("/v1", Dialect.OPENAI),
    ],
)
def test_every_path_has_a_dialect(path: str, dialect: Dialect) -> None:
    assert ROUTES.dialect_of(path) is dialect


def test_the_order_of_routes_decides_nothing() -> None:
    mixed = Routes(reversed(ROUTES.all), [])
    for method, path in product(("GET", "DELETE"), ("/v1/responses/x", "/v1/models/a", "/")):
        try:
            expected = ROUTES.find(method, path)
        except MethodNotAllowed:
            with pytest.raises(MethodNotAllowed):
                mixed.find(method, path)
        else:
            assert mixed.find(method, path) == expected
