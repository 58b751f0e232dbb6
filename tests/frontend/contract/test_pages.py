"""Web pages: what their browsers may ask, for whom, and under which name."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "echo", "messages": script(text="a b")})
JSON = {"content-type": "application/json"}
PAGE = "https://chat.example"


@pytest.fixture(scope="module")
def paged(echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that one site's pages may use."""
    log = tmp_path_factory.mktemp("paged") / "log"
    with run_gateway(echo_triton.grpc_address, log, "--allowed-origins", PAGE) as gateway:
        yield gateway


@pytest.mark.parametrize(
    "path", [CHAT, "/v1/messages", "/api/chat", "/v1/models", "/healthz", "/x"]
)
def test_other_names_and_other_pages_are_refused(raw: httpx2.Client, path: str) -> None:
    for header, value in (("host", "evil.example:9000"), ("origin", "https://evil.example")):
        answer = raw.post(path, content=BODY, headers={**JSON, header: value})
        assert (answer.status_code, value in answer.text) == (403, True)
        assert answer.headers["x-request-id"]
        assert "access-control-allow-origin" not in answer.headers
        if path == CHAT:
            assert answer.json()["error"]["param"] == header


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "text/plain; application/json",
        "multipart/form-data; boundary=x",
        "application/json, text/plain",
        "application/jsonx",
        "application/x-www-form-urlencoded",
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
def test_a_page_sends_json_and_says_so(
    raw: httpx2.Client, paged: Gateway, path: str, kind: str | None
) -> None:
    headers = {"origin": str(raw.base_url).rstrip("/")} | (
        {} if kind is None else {"content-type": kind}
    )
    answer = raw.post(path, content=BODY.encode(), headers=headers)
    assert answer.status_code == 415
    headers["origin"] = PAGE
    assert httpx2.post(paged.url + path, content=BODY.encode(), headers=headers).status_code == 415


def test_its_own_pages_may_use_it(raw: httpx2.Client) -> None:
    headers = {
        "origin": str(raw.base_url).rstrip("/"),
        "content-type": "application/json; charset=utf-8",
    }
    assert raw.post(CHAT, content=BODY, headers=headers).status_code == 200


def test_cors_is_off_unless_asked_for(raw: httpx2.Client) -> None:
    headers = {"origin": PAGE, "access-control-request-method": "POST"}
    answer = raw.options(CHAT, headers=headers)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_preflight_of_a_listed_origin_is_answered(paged: Gateway) -> None:
    wanted = "authorization,content-type,x-stainless-lang"
    ask = {
        "access-control-request-method": "POST",
        "access-control-request-headers": wanted,
    }
    answer = httpx2.options(paged.url + CHAT, headers={"origin": PAGE, **ask})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "x-stainless-lang" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]
    other = httpx2.options(paged.url + CHAT, headers={"origin": f"{PAGE}.evil.example", **ask})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("stream", [False, True])
def test_a_listed_origin_reads_answers_and_errors(paged: Gateway, stream: bool) -> None:
    headers, body = {"origin": PAGE, **JSON}, json.loads(BODY) | {"stream": stream}
    for content, status in ((json.dumps(body), 200), ("{", 400)):
        answer = httpx2.post(paged.url + CHAT, content=content, headers=headers)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"x-request-id", "retry-after-ms", "x-should-retry"} <= {*exposed}
        assert {"x-ratelimit-remaining-tokens", "anthropic-ratelimit-requests-reset"} <= {*exposed}


def test_an_open_gateway_checks_and_one_with_keys_does_not(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("")
    headers = {**JSON, "host": "evil.example", "origin": "https://evil.example"}
    for more, status in ((["--open"], 403), ([], 401)):
        flags = ["--keys-file", str(keys), *more]
        with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
            answer = httpx2.post(gateway.url + CHAT, content=BODY, headers=headers)
            assert answer.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", "/v1/responses/x", "DELETE, GET, HEAD"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("OPTIONS", "/api/blobs/x", "HEAD, POST"),
    ],
)
def test_a_method_that_a_route_does_not_take(
    raw: httpx2.Client, method: str, path: str, allowed: str
) -> None:
    answer = raw.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert allowed in answer.text
