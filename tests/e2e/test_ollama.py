"""Ollama's client against the real engine: what tools that only speak Ollama get."""

import base64
import io
import json
from collections.abc import Iterator

import ollama
import pytest
from openai import OpenAI
from PIL import Image
from pydantic import BaseModel

from tests.e2e.conftest import CHAT, EMBEDDING, IMAGE
from tests.support.processes import Service

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"temperature": 0}


@pytest.fixture(scope="module")
def api(service: Service) -> Iterator[ollama.Client]:
    client = ollama.Client(host=service.url)
    yield client
    client._client.close()


def test_the_capital_of_france(api: ollama.Client, client: OpenAI) -> None:
    whole = api.chat("smollm2", messages=QUESTION, options=GREEDY)
    assert "Paris" in str(whole.message.content)
    parts = list(api.chat(f"{CHAT}:latest", messages=QUESTION, options=GREEDY, stream=True))
    assert "".join(str(part.message.content) for part in parts) == whole.message.content
    reference = client.chat.completions.create(
        model=CHAT,
        messages=QUESTION,  # type: ignore[arg-type]
        temperature=0,
    )
    assert reference.choices[0].message.content == whole.message.content
    assert reference.usage is not None
    counts = (whole.prompt_eval_count, whole.eval_count)
    assert counts == (reference.usage.prompt_tokens, reference.usage.completion_tokens)
    assert whole.eval_duration
    assert whole.total_duration
    assert whole.total_duration > whole.eval_duration


def test_a_conversation_goes_on_from_its_context(api: ollama.Client) -> None:
    first = api.generate(CHAT, "My name is Ada. Say hello.", options=GREEDY | {"num_predict": 24})
    assert first.context
    assert first.prompt_eval_count
    assert len(first.context) == first.prompt_eval_count + (first.eval_count or 0)
    second = api.generate(
        CHAT, "What is my name?", context=first.context, options=GREEDY | {"num_predict": 24}
    )
    assert second.context
    assert list(second.context[: len(first.context)]) == list(first.context)
    assert second.prompt_eval_count
    assert second.prompt_eval_count > len(first.context)


def test_raw_prompts_and_limits(api: ollama.Client) -> None:
    answer = api.generate(
        CHAT, "The capital of France is", raw=True, options=GREEDY | {"num_predict": 4}
    )
    assert "Paris" in str(answer.response)
    assert (answer.done_reason, answer.eval_count) == ("length", 4)
    assert answer.context is None


def test_a_pydantic_schema_is_obeyed(api: ollama.Client) -> None:
    class City(BaseModel):
        name: str
        capital: bool

    answer = api.chat(
        CHAT, messages=QUESTION, format=City.model_json_schema(), options={"num_predict": 200}
    )
    if answer.done_reason == "stop":
        City.model_validate_json(str(answer.message.content))
    anything = api.chat(CHAT, messages=QUESTION, format="json", options={"num_predict": 200})
    if anything.done_reason == "stop":
        assert isinstance(json.loads(str(anything.message.content)), dict)


def test_vectors_equal_those_of_the_other_dialect(api: ollama.Client, client: OpenAI) -> None:
    ours = api.embed("minilm", ["a cat", "a kitten"])
    theirs = client.embeddings.create(model=EMBEDDING, input=["a cat", "a kitten"])
    for mine, other in zip(ours.embeddings, theirs.data, strict=True):
        assert list(mine) == pytest.approx(other.embedding, abs=1e-6)
    assert ours.prompt_eval_count == theirs.usage.prompt_tokens


def test_an_image_model_draws(api: ollama.Client) -> None:
    drawn = api.generate(IMAGE, "a red heart", width=32, height=32, steps=5, options={"seed": 1})
    picture = Image.open(io.BytesIO(base64.b64decode(str(drawn.image))))
    assert picture.size == (32, 32)


def test_what_is_served_is_told_as_it_is(api: ollama.Client) -> None:
    listed = {model.model: model for model in api.list().models}
    assert {f"{CHAT}:latest", "smollm2:latest", f"{EMBEDDING}:latest"} <= set(listed)
    assert len(str(listed[f"{CHAT}:latest"].digest)) == 64
    shown = api.show(CHAT)
    assert {"completion", "tools"} <= set(shown.capabilities or [])
    assert (shown.modelinfo or {})["general.architecture"] == "llama"
    assert (shown.modelinfo or {})["general.parameter_count"] == 134_515_008
    lengths = [v for k, v in (shown.modelinfo or {}).items() if k.endswith(".context_length")]
    assert lengths == [2048]
    assert api.show("minilm").capabilities == ["embedding"]


def test_a_conversation_beyond_the_context_goes_on(api: ollama.Client) -> None:
    talk = [{"role": "system", "content": "You know all capitals."}]
    for number in range(200):
        talk += [
            {"role": "user", "content": f"Remember the number {number}."},
            {"role": "assistant", "content": f"I will remember {number}."},
        ]
    talk += QUESTION
    for limit in (2048, 512):
        options = GREEDY | {"num_predict": 24, "num_ctx": limit}
        answer = api.chat(CHAT, messages=talk, options=options)
        assert "Paris" in str(answer.message.content)
        assert answer.prompt_eval_count is not None
        assert limit // 2 < answer.prompt_eval_count <= limit - 24
    with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length"):
        api._request_raw(
            "POST", "/api/chat", json={"model": CHAT, "messages": talk, "truncate": False}
        )
    cut = api.generate(CHAT, "Once upon a time", options=GREEDY | {"num_ctx": 48, "num_keep": 0})
    assert cut.done_reason == "length"
    assert (cut.prompt_eval_count or 0) + (cut.eval_count or 0) == 48
