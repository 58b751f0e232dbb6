"""Embeddings, images and the list of models through the official SDK and the real Triton."""

import base64

import numpy as np
import pytest
from openai import BadRequestError, NotFoundError, OpenAI


def test_both_encodings_are_the_same_bits(client: OpenAI) -> None:
    texts = ["a cat", "a dog", "über"]
    plain = client.embeddings.create(model="echo-embedding", input=texts, encoding_format="float")
    coded = client.embeddings.with_raw_response.create(
        model="echo-embedding", input=texts, encoding_format="base64"
    )
    vectors = [one["embedding"] for one in coded.http_response.json()["data"]]
    decoded = np.array([np.frombuffer(base64.b64decode(one), "<f4") for one in vectors])
    floats = np.array([one.embedding for one in plain.data], dtype="<f4")
    assert decoded.tobytes() == floats.tobytes()
    assert np.allclose(np.linalg.norm(floats, axis=1), 1, atol=1e-5)
    assert plain.usage.prompt_tokens == 5


def test_a_list_longer_than_a_batch_keeps_its_order(client: OpenAI) -> None:
    texts = [f"text {number}" for number in range(150)]
    together = client.embeddings.create(model="echo-embedding", input=texts)
    assert [one.index for one in together.data] == list(range(150))
    for number in (0, 63, 64, 149):
        alone = client.embeddings.create(model="echo-embedding", input=texts[number])
        assert alone.data[0].embedding == together.data[number].embedding
    assert together.usage.prompt_tokens == 300


def test_a_text_beyond_the_context_is_refused_by_name_or_cut(client: OpenAI) -> None:
    long = "word " * 300
    with pytest.raises(BadRequestError) as refusal:
        client.embeddings.create(model="echo-embedding", input=long)
    assert refusal.value.code == "context_length_exceeded"
    assert refusal.value.param == "input"
    cut = client.embeddings.create(
        model="echo-embedding", input=long, extra_body={"truncate_prompt_tokens": -1}
    )
    assert cut.usage.prompt_tokens == 256


def test_thousands_of_texts_in_one_call(client: OpenAI) -> None:
    texts = [f"word{number % 50} {number}" for number in range(5000)]
    answer = client.embeddings.create(model="echo-embedding", input=texts)
    assert [one.index for one in answer.data] == list(range(5000))
    assert answer.usage.prompt_tokens == 10_000
    alone = client.embeddings.create(model="echo-embedding", input=texts[4321])
    assert alone.data[0].embedding == answer.data[4321].embedding


def test_token_ids_stand_for_texts(client: OpenAI) -> None:
    rows = [[1, 2, 3], [7], [5, 6]]
    by_ids = client.embeddings.create(model="echo-embedding", input=rows)
    by_text = client.embeddings.create(
        model="echo-embedding", input=[" ".join(map(str, row)) for row in rows]
    )
    assert [one.embedding for one in by_ids.data] == [one.embedding for one in by_text.data]
    assert by_ids.usage.prompt_tokens == 6
    one = client.embeddings.create(model="echo-embedding", input=rows[0])
    assert one.data[0].embedding == by_ids.data[0].embedding


def test_token_ids_of_another_tokenizer_or_too_many_are_refused(client: OpenAI) -> None:
    for ids, code in (([5, 5000], "invalid_token_ids"), ([5] * 300, "context_length_exceeded")):
        with pytest.raises(BadRequestError) as refusal:
            client.embeddings.create(model="echo-embedding", input=ids)
        assert (refusal.value.param, refusal.value.code) == ("input", code)
    cut = client.embeddings.create(
        model="echo-embedding", input=[5] * 300, extra_body={"truncate_prompt_tokens": -1}
    )
    assert cut.usage.prompt_tokens == 256


def test_dimensions_are_the_models_own(client: OpenAI) -> None:
    client.embeddings.create(model="echo-embedding", input="a", dimensions=8)
    with pytest.raises(BadRequestError) as refusal:
        client.embeddings.create(model="echo-embedding", input="a", dimensions=4)
    assert refusal.value.param == "dimensions"


def test_images_follow_prompt_seed_and_size(client: OpenAI) -> None:
    def draw(prompt: str, seed: int, n: int = 1) -> list[bytes]:
        answer = client.images.generate(
            model="echo-diffusion", prompt=prompt, n=n, size="16x24", extra_body={"seed": seed}
        )
        return [base64.b64decode(one.b64_json or "") for one in answer.data or []]

    two = draw("a cat", 1, n=2)
    assert two[0] == draw("a cat", 1)[0]
    assert two[1] == draw("a cat", 2)[0]
    assert two[0] != draw("a dog", 1)[0]
    assert two[0][16:24] == (16).to_bytes(4, "big") + (24).to_bytes(4, "big")


@pytest.mark.parametrize(("extra", "param"), [({"steps": 101}, "steps"), ({"n": 5}, "n")])
def test_a_models_limits_are_named(client: OpenAI, extra: dict[str, int], param: str) -> None:
    with pytest.raises(BadRequestError) as refusal:
        client.images.generate(model="echo-diffusion", prompt="x", extra_body=extra)
    assert refusal.value.param == param


def test_the_list_of_models_is_what_triton_serves(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert set(models) == {"echo", "echo-embedding", "echo-diffusion"}
    assert models["echo"].owned_by == "test"
    assert client.models.retrieve("echo").id == "echo"
    with pytest.raises(NotFoundError) as refusal:
        client.models.retrieve("echo.engine")
    assert refusal.value.code == "model_not_found"


def test_a_model_for_something_else_says_what_it_does(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="it supports embedding") as refusal:
        client.completions.create(model="echo-embedding", prompt="x")
    assert refusal.value.param == "model"
