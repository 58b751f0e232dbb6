"""Every failure has OpenAI's shape and the SDK's class, before and after the first byte."""

import json
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from tests.support.echo import script
from tests.support.gateway import Gateway
from tests.support.processes import wait_for

CHAT = "/v1/chat/completions"
HELLO = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


def check(answer: httpx2.Response, status: int, param: str | None = None) -> dict[str, Any]:
    """Asserts the status and the one shape of errors; returns the error."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["param"] == param
    assert answer.headers["x-request-id"]
    return error


def test_routes_and_methods(raw: httpx2.Client) -> None:
    check(raw.get("/v1/nothing"), 404)
    check(raw.post("/"), 405)
    check(raw.get("/v1/models/nothing"), 404, "model")
    check(raw.get(CHAT), 405)
    check(raw.delete("/v1/models"), 405)
    check(raw.post(f"{CHAT}/", json=HELLO), 404)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": NaN}', b'"\\ud800"', b"[" * 5000]
)
def test_bodies_that_are_no_json_objects(raw: httpx2.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    check(raw.post(CHAT, content=body, headers=headers), 400)


def test_nesting_is_bounded(raw: httpx2.Client) -> None:
    deep: Any = 1
    for _ in range(300):
        deep = {"a": deep}
    check(raw.post(CHAT, json={**HELLO, "chat_template_kwargs": deep}), 400)


def test_other_content_types_and_encodings(raw: httpx2.Client) -> None:
    content = json.dumps(HELLO).encode()
    for name, value in (("content-type", "text/plain"), ("content-encoding", "gzip")):
        check(raw.post(CHAT, content=content, headers={name: value}), 415, name)
    check(raw.post(CHAT, data={"a": "b"}), 415, "content-type")


def test_a_body_beyond_its_bound(raw: httpx2.Client) -> None:
    body = {**HELLO, "user": "x" * (21 * 2**20)}
    check(raw.post(CHAT, json=body), 413, "body")


def test_headers_beyond_their_bound(raw: httpx2.Client) -> None:
    answer = raw.get("/v1/models", headers={"x-long": "x" * 70_000})
    assert answer.status_code == 400
    assert raw.get("/healthz").status_code == 200


def test_ids_and_times_are_on_every_answer(raw: httpx2.Client) -> None:
    for path in ("/v1/models", "/healthz", "/nothing"):
        answer = raw.get(path, headers={"x-request-id": "my-id.1"})
        assert answer.headers["x-request-id"] == "my-id.1"
        assert answer.headers["openai-processing-ms"].isdecimal()
    for insane in ("a b", "x" * 65, "a;b"):
        answer = raw.get("/v1/models", headers={"x-request-id": insane})
        assert answer.headers["x-request-id"] != insane


def test_answers_are_told_apart_even_when_their_clients_ids_are_the_same(
    raw: httpx2.Client,
) -> None:
    headers = {"x-request-id": "same"}
    ids = {raw.post(CHAT, json=HELLO, headers=headers).json()["id"] for _ in range(2)}
    assert len(ids) == 2


def test_the_log_has_one_line_per_request_and_no_words_of_it(
    raw: httpx2.Client, gateway: Gateway
) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "a-secret-prompt"}]}
    raw.post(CHAT, json=body, headers={"x-request-id": "logged-1"})
    raw.get("/forged%0A2026-01-01 INFO forged", headers={"x-request-id": "logged-2"})
    wait_for(lambda: "logged-2" in gateway.log.read_text(), what="the lines")
    log = gateway.log.read_text()
    (line,) = [line for line in log.splitlines() if "logged-1" in line]
    record = json.loads(line[line.index("{") :])
    assert record["model"] == "echo"
    assert record["status"] == 200
    assert record["prompt_tokens"] == record["completion_tokens"] == 1
    assert "a-secret-prompt" not in log
    assert "forged" not in log


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (
            {"status": 400, "param": "messages", "code": "engine_failed"},
            openai.BadRequestError,
            400,
        ),
        ({"status": 429, "code": "engine_failed"}, openai.RateLimitError, 429),
        ({"status": 500, "code": "engine_failed"}, openai.InternalServerError, 502),
        ({"status": 503, "code": "engine_failed"}, openai.InternalServerError, 503),
        (None, openai.InternalServerError, 502),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_token_is_a_status(
    client: OpenAI, error: dict[str, Any] | None, kind: type[openai.APIStatusError], status: int,
    stream: bool,
) -> None:  # fmt: skip
    fields: dict[str, Any] = {"text": "a b", "fail_after": 0}
    if error is not None:
        fields["error"] = {"message": "as scripted", **error}
    with pytest.raises(kind) as raised:
        client.chat.completions.create(model="echo", messages=script(**fields), stream=stream)
    assert raised.value.status_code == status
    if error is None:
        assert "scripted" not in raised.value.message, "a backend's own words were passed on"
    else:
        assert "as scripted" in raised.value.message
        assert raised.value.code == "engine_failed"
        assert raised.value.param == error.get("param")
    if status in (429, 503):
        assert raised.value.response.headers["retry-after"]


def test_a_failure_after_the_first_token_is_an_event(client: OpenAI, raw: httpx2.Client) -> None:
    messages = script(text="a b c", fail_after=2)
    stream = client.chat.completions.create(model="echo", messages=messages, stream=True)
    role, *deltas = (next(stream).choices[0].delta for _ in range(3))
    assert role.role == "assistant"
    assert [delta.content for delta in deltas] == ["a ", "b "]
    with pytest.raises(openai.APIError) as raised:
        next(stream)
    assert raised.value.code == "backend_error"
    text = raw.post(CHAT, json={"model": "echo", "messages": messages, "stream": True}).text
    *_, last, end = text.split("\n\n")
    assert end == ""
    assert set(json.loads(last.removeprefix("data: "))["error"]) == {
        "message",
        "type",
        "param",
        "code",
    }


def test_an_aborted_answer_is_a_failure_and_no_answer(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(
            model="echo", messages=script(text="a b", finish_reason="abort")
        )
    assert raised.value.code == "incomplete"


def test_a_prompt_beyond_the_context_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="echo", prompt="word " * 5000)
    assert raised.value.code == "context_length_exceeded"
    assert raised.value.param == "prompt"
