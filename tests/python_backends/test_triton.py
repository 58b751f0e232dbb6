"""Prompt, embedding and diffusion steps on the real server, against what they should compute."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from tritonclient.utils import InferenceServerException

from python_backends.errors import MARKER
from tests.python_backends.models import Small
from tests.support.client import Client
from tests.support.triton import Server

WORDS = {"a": 4, "cat": 5, "dog": 6, "house": 7, "the": 8, "sees": 9}


def expected(small: Small, text: str) -> np.ndarray:
    ids = [2, *(WORDS.get(word, 1) for word in text.split()), 3]
    total = small.table[ids].sum(axis=0)
    return total / np.linalg.norm(total)


def refusal(error: Exception) -> dict[str, object]:
    fields: dict[str, object] = json.loads(str(error).partition(MARKER)[2].strip())
    return fields


def test_a_prompt_becomes_ids(client: Client) -> None:
    ids = client.infer("tiny.prompt", prompt={"messages": [{"role": "user", "content": "hé"}]})
    assert ids["token_ids"].dtype == np.int32
    assert ids["token_ids"][0] == 1
    with pytest.raises(InferenceServerException) as caught:
        client.infer("tiny.prompt", prompt={"token_ids": [1] * 512})
    assert refusal(caught.value)["code"] == "context_length_exceeded"


def test_embeddings_are_right_whatever_runs_together(server: Server, small: Small) -> None:
    words = list(WORDS)
    texts = [" ".join(words[: 1 + number % 6]) for number in range(64)]
    with Client(server.grpc_address) as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda text: client.infer("tiny-embedding", text=[[text]]), texts))
    for text, arrays in zip(texts, found, strict=True):
        np.testing.assert_allclose(arrays["embedding"][0], expected(small, text), atol=1e-6)
        assert arrays["num_tokens"].tolist() == [[len(text.split()) + 2]]


def test_a_batch_of_texts_keeps_its_order(client: Client, small: Small) -> None:
    texts = ["the cat sees a dog", "", "house", "a unicorn"]
    arrays = client.infer("tiny-embedding", text=[[text] for text in texts])
    for text, vector in zip(texts, arrays["embedding"], strict=True):
        np.testing.assert_allclose(vector, expected(small, text), atol=1e-6)
    assert arrays["num_tokens"].reshape(-1).tolist() == [7, 2, 3, 4]


def test_long_texts_are_refused_or_cut(client: Client) -> None:
    text = [[" ".join(["cat"] * 40)]]
    with pytest.raises(InferenceServerException) as caught:
        client.infer("tiny-embedding", text=text)
    assert refusal(caught.value) == {
        "code": "context_length_exceeded",
        "param": "input",
        "message": "input 0 has 42 tokens, more than the model's maximum of 16;"
        " shorten it or request truncation",
        "status": 400,
        "context": {"limit": 16, "prompt_tokens": 42, "requested_tokens": 0},
    }
    arrays = client.infer("tiny-embedding", text=text, truncate=[[True]])
    assert arrays["num_tokens"].tolist() == [[16]]


def draw(client: Client, **order: object) -> list[np.ndarray]:
    tensors = {
        name: np.array([value], dtype=np.int64) if name == "seed" else value
        for name, value in order.items()
    }
    found = client.infer("tiny-diffusion", **tensors)["image"]
    return [np.asarray(Image.open(io.BytesIO(data))) for data in found]


def test_images_are_what_diffusers_makes(client: Client, small: Small) -> None:
    import torch

    (image,) = draw(client, prompt="a cat", negative_prompt="dog", seed=7, steps=4, guidance=3.0)
    reference = small.pipeline(
        "a cat",
        negative_prompt="dog",
        num_inference_steps=4,
        guidance_scale=3.0,
        width=32,
        height=32,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    assert image.shape == (32, 32, 3)
    assert np.abs(image - reference * 255).max() < 1.5
    assert image.std() > 1, "not a blank"


def test_an_image_depends_on_its_own_seed_alone(client: Client) -> None:
    three = draw(client, prompt="a cat", seed=5, count=3)
    alone = [draw(client, prompt="a cat", seed=5 + number)[0] for number in range(3)]
    assert all((one == other).all() for one, other in zip(three, alone, strict=True))
    assert not (three[0] == three[1]).all()


def test_sizes_and_settings_are_honoured(client: Client) -> None:
    (wide,) = draw(client, prompt="x", seed=1, width=64, height=16)
    assert wide.shape == (16, 64, 3)
    plain = draw(client, prompt="x", seed=1)[0]
    assert not (draw(client, prompt="x", seed=1, guidance=1.0)[0] == plain).all()
    assert not (draw(client, prompt="y", seed=1)[0] == plain).all()
    assert not (draw(client, prompt="x", seed=1, steps=2)[0] == plain).all()


def test_a_drawing_may_be_looked_at_before_its_end(client: Client) -> None:
    whole, early, late = (
        draw(client, prompt="x", seed=1, steps=4, **more)[0]
        for more in ({}, {"stop_after": 1}, {"stop_after": 3})
    )
    assert early.shape == whole.shape
    far = [np.abs(whole.astype(int) - one).mean() for one in (early, late)]
    assert far[0] > far[1] > 0
    assert (draw(client, prompt="x", seed=1, steps=4, stop_after=4)[0] == whole).all()
    found = client.infer("tiny-diffusion", prompt="x", negative_prompt="y")
    assert found["num_tokens"].tolist() == [
        2 * client.infer("tiny-diffusion", prompt="x")["num_tokens"][0]
    ]


def test_orders_beyond_the_limits_are_refused(client: Client) -> None:
    for order, param in (
        ({"steps": 9}, "steps"),
        ({"width": 40}, "width"),
        ({"count": 4}, "count"),
        ({"steps": 4, "stop_after": 5}, "stop_after"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            draw(client, prompt="x", **order)
        assert (refusal(caught.value)["param"], refusal(caught.value)["status"]) == (param, 400)
    with pytest.raises(InferenceServerException) as caught:
        draw(client, prompt="a long prompt of many bytes")
    assert refusal(caught.value)["param"] == "prompt"
