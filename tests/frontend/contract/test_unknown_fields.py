"""Unknown fields: refused, or ignored with a warning if the operator chose that."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.support.echo import EchoTriton
from tests.support.gateway import run_gateway

HELLO = {"role": "user", "content": "hi"}
BODIES: dict[str, dict[str, object]] = {
    "/v1/chat/completions": {"messages": [HELLO]},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/responses/input_tokens": {"input": "hi"},
    "/v1/embeddings": {"model": "echo-embedding", "input": "hi"},
    "/v1/images/generations": {"model": "echo-diffusion", "prompt": "hi"},
    "/v1/messages": {"messages": [HELLO], "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": [HELLO]},
}


@pytest.fixture(scope="module")
def lenient(
    echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    log = tmp_path_factory.mktemp("lenient") / "log"
    with (
        run_gateway(echo_triton.grpc_address, log, "--unknown-fields", "warn") as gateway,
        httpx2.Client(base_url=gateway.url, timeout=30) as http,
    ):
        yield http


@pytest.mark.parametrize("path", BODIES)
def test_they_are_refused_by_default(raw: httpx2.Client, path: str) -> None:
    answer = raw.post(path, json={"model": "echo", **BODIES[path], "temprature": 1, "x": 2})
    assert answer.status_code == 400
    assert "temprature" in answer.text


@pytest.mark.parametrize("path", BODIES)
def test_they_pass_with_a_warning_where_the_operator_wants_that(
    lenient: httpx2.Client, path: str
) -> None:
    body = {"model": "echo", **BODIES[path], "temprature": 1, 'x"\r\n': None, "ünknown": [1]}
    answer = lenient.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert (
        answer.headers["warning"] == '299 - "temprature: unknown; x???: unknown; ?nknown: unknown"'
    )
    assert "warning" not in lenient.post(path, json={"model": "echo", **BODIES[path]}).headers


def test_they_pass_in_streams(lenient: httpx2.Client) -> None:
    body = {"model": "echo", "messages": [HELLO], "stream": True, "colour": "red"}
    answer = lenient.post("/v1/chat/completions", json=body)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "colour" in answer.headers["warning"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 9}, "temperature"),
        ({"messages": [{**HELLO, "colour": 1}]}, "messages[0].colour"),
        ({"response_format": {"type": "text", "colour": 1}}, "response_format.colour"),
        ({"audio": {"voice": "x"}}, "audio"),
    ],
)
def test_what_is_known_is_checked_all_the_same(
    lenient: httpx2.Client, more: dict[str, object], param: str
) -> None:
    body = {"model": "echo", "messages": [HELLO], "colour": 1, **more}
    answer = lenient.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_thousands_of_them_are_one_short_header(lenient: httpx2.Client) -> None:
    body = {"model": "echo", "messages": [HELLO], **{f"field{n}": n for n in range(3000)}}
    answer = lenient.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert len(answer.headers["warning"]) < 1100
