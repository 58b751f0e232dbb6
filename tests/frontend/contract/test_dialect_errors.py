"""What SDKs, and programs that look into their errors, read of a failure."""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import ollama
import openai
import pytest
from openai import OpenAI

from tests.support.echo import script
from tests.support.gateway import Gateway

LONG = "word " * 5000
LIMIT = "maximum context length is 4096 tokens"


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="x", max_retries=0) as sdk:
        yield sdk


def test_a_long_prompt_is_recognised_in_every_route_of_openais(client: OpenAI) -> None:
    calls: list[tuple[str, Any]] = [
        ("messages", lambda: client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": LONG}])),
        ("messages", lambda: client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": LONG}], stream=True)),
        ("prompt", lambda: client.completions.create(model="echo", prompt=LONG)),
        ("input", lambda: client.responses.create(model="echo", input=LONG)),
        ("input", lambda: client.embeddings.create(model="echo-embedding", input=LONG)),
    ]  # fmt: skip
    for param, call in calls:
        with pytest.raises(openai.BadRequestError) as raised:
            call()
        assert raised.value.code == "context_length_exceeded"
        assert raised.value.param == param
        assert "This model's maximum context length is" in raised.value.message
        assert "5000 tokens" in raised.value.message


def test_a_long_prompt_is_recognised_by_anthropics_sdk(claude: anthropic.Anthropic) -> None:
    messages: Any = [{"role": "user", "content": LONG}]
    for stream in (False, True):
        with pytest.raises(anthropic.BadRequestError) as raised:
            claude.messages.create(model="echo", messages=messages, max_tokens=9, stream=stream)
        assert "prompt is too long: 5000 tokens > 4096 maximum" in raised.value.message
    with pytest.raises(anthropic.BadRequestError, match="at least one message is required"):
        claude.messages.create(model="echo", messages=[], max_tokens=9)


def test_a_long_prompt_is_recognised_by_ollamas_clients(gateway: Gateway) -> None:
    client = ollama.Client(host=gateway.url)
    with pytest.raises(ollama.ResponseError) as raised:
        client.embed("echo-embedding", LONG, truncate=False)
    assert raised.value.status_code == 400
    assert "the input length exceeds the context length" in raised.value.error
    client._client.close()


def test_an_unknown_model_is_recognised(client: OpenAI, claude: anthropic.Anthropic) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=script(text="x"))
    assert unknown.value.code == "model_not_found"
    assert "The model `gpt-9` does not exist" in unknown.value.message
    with pytest.raises(anthropic.NotFoundError, match="model: claude-9"):
        claude.messages.create(
            model="claude-9", messages=[{"role": "user", "content": "x"}], max_tokens=9
        )


@pytest.mark.parametrize("name", ["echo", "echo:latest"])
def test_a_name_that_ollamas_list_has_works_in_every_api(
    client: OpenAI, claude: anthropic.Anthropic, name: str
) -> None:
    chat = client.chat.completions.create(model=name, messages=script(text="a"))
    assert chat.choices[0].message.content == "a"
    assert client.models.retrieve(name).id == "echo"
    assert client.completions.create(model=name, prompt="b").choices[0].text == "b"
    assert client.responses.create(model=name, input="c").output_text == "c"
    said = claude.messages.create(
        model=name, messages=[{"role": "user", "content": "d"}], max_tokens=9
    )
    assert said.model == "echo"
    vectors = client.embeddings.create(model=name.replace("echo", "echo-embedding"), input="e")
    assert len(vectors.data) == 1


def test_every_name_of_ollamas_list_is_a_model_of_openais(raw: httpx2.Client) -> None:
    for model in raw.get("/api/tags").json()["models"]:
        assert raw.get(f"/v1/models/{model['model']}").status_code == 200


def test_errors_of_the_engine_name_what_the_caller_sent(client: OpenAI) -> None:
    about = {"status": 400, "param": "max_tokens", "code": "c"}
    failing: Any = {
        "text": "a",
        "fail_after": 0,
        "error": {**about, "message": "'max_tokens' is 9"},
    }
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(
            model="echo", messages=script(**failing), max_completion_tokens=9
        )
    assert raised.value.param == "max_completion_tokens"
    assert "'max_completion_tokens' is 9" in raised.value.message
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(model="echo", input=script(**failing)[0]["content"])  # type: ignore[arg-type]
    assert raised.value.param == "max_output_tokens"


def test_a_filter_of_the_operators_ends_an_answer_by_its_name(
    client: OpenAI, claude: anthropic.Anthropic
) -> None:
    messages: Any = script(text="a b", finish_reason="content_filter")
    chat = client.chat.completions.create(model="echo", messages=messages)
    assert chat.choices[0].finish_reason == "content_filter"
    said = claude.messages.create(model="echo", messages=messages, max_tokens=9)
    assert said.stop_reason == "refusal"
    response = client.responses.create(model="echo", input=messages)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "content_filter"
