"""The default diffusion model: what it draws is what the prompt asked for.

The judge is a small network that this test trains only on the reference art; it has never seen a
generated picture.
"""

import base64
import io
import json
from collections.abc import Callable

import httpx2
import numpy as np
import pytest
from openai import BadRequestError, OpenAI
from PIL import Image

from tests.e2e.conftest import IMAGE
from tests.support.processes import ROOT

EMOJI = ROOT / "examples" / "emoji"
SIDE = 32
SEEDS = (1, 2, 3)


def draw(client: OpenAI, prompt: str, count: int = 1, **extra: object) -> list[np.ndarray]:
    """Pictures as uint8 [SIDE, SIDE, 3]."""
    answer = client.images.generate(model=IMAGE, prompt=prompt, n=count, extra_body=extra)
    assert answer.data is not None
    return [_decode(item.b64_json or "") for item in answer.data]


def _decode(text: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture.convert("RGB").resize((SIDE, SIDE)))


@pytest.fixture(scope="module")
def names() -> list[str]:
    concepts = json.loads((EMOJI / "prompts.json").read_text())["concepts"]
    return [concept["name"] for concept in concepts]


@pytest.fixture(scope="module")
def judge(names: list[str]) -> Callable[[np.ndarray], str]:
    """A classifier of one picture, trained on moved, scaled and noisy copies of the reference."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    with Image.open(EMOJI / "reference.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    styles = pixels.shape[1] // SIDE
    art = pixels.reshape(len(names), SIDE, styles, SIDE, 3).transpose(0, 2, 4, 1, 3)
    tiles = torch.from_numpy(art.reshape(-1, 3, SIDE, SIDE).copy()).float() / 255
    labels = torch.arange(len(names)).repeat_interleave(styles)
    network = nn.Sequential(
        *(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1024, len(names))),
    )
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(250):
        chosen = torch.randint(0, len(tiles), (64,))
        loss = nn.functional.cross_entropy(network(_augment(tiles[chosen])), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()

    def judged(picture: np.ndarray) -> str:
        seen = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            return names[int(network(seen).argmax())]

    return judged


def _augment(tiles: "torch.Tensor") -> "torch.Tensor":  # type: ignore[name-defined]  # noqa: F821
    import torch

    turned = torch.eye(2, 3).repeat(len(tiles), 1, 1)
    turned[:, :, :2] *= torch.empty(len(tiles), 1, 1).uniform_(0.9, 1.15)
    turned[:, :, 2] = torch.empty(len(tiles), 2).uniform_(-0.12, 0.12)
    grid = torch.nn.functional.affine_grid(turned, list(tiles.shape), align_corners=False)
    moved = torch.nn.functional.grid_sample(tiles, grid, padding_mode="border", align_corners=False)
    return moved + 0.08 * torch.rand(len(tiles), 1, 1, 1) * torch.randn_like(moved)


def test_the_prompt_decides_what_is_drawn(
    client: OpenAI, names: list[str], judge: Callable[[np.ndarray], str]
) -> None:
    asked = names[::3]
    right = sum(
        judge(picture) == name
        for name in asked
        for seed in SEEDS
        for picture in draw(client, f"a {name}", seed=seed)
    )
    share = right / (len(asked) * len(SEEDS))
    assert share > 0.5, f"{share:.0%} recognised; chance is {1 / len(names):.1%}"


def test_the_same_seed_draws_the_same_picture(client: OpenAI) -> None:
    first, again = draw(client, "a cat", seed=5), draw(client, "a cat", seed=5)
    other = draw(client, "a cat", seed=6)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pictures_of_one_request_continue_its_seed(client: OpenAI) -> None:
    together = draw(client, "a red heart", count=3, seed=10)
    alone = [draw(client, "a red heart", seed=seed)[0] for seed in (10, 11, 12)]
    np.testing.assert_array_equal(together, alone)


def test_what_the_model_does_not_draw_is_refused_by_name(client: OpenAI) -> None:
    for extra, param in (({"steps": 100_000}, "steps"), ({"size": "4096x4096"}, "size")):
        with pytest.raises(BadRequestError) as refusal:
            draw(client, "a cat", **extra)
        assert refusal.value.param == param


def test_previews_come_closer_to_the_picture(client: OpenAI) -> None:
    stream = client.images.generate(
        model=IMAGE, prompt="a cat", stream=True, partial_images=3, extra_body={"seed": 5}
    )
    *early, whole = [_decode(event.b64_json).astype(int) for event in stream]
    far = [float(np.abs(one - whole).mean()) for one in early]
    assert len(far) == 3
    assert far[0] > far[2] > 0, far


def test_a_link_brings_the_same_picture(client: OpenAI) -> None:
    answer = client.images.generate(
        model=IMAGE, prompt="a cat", response_format="url", extra_body={"seed": 5}
    )
    assert answer.data
    assert answer.usage
    assert answer.usage.input_tokens > 2
    with Image.open(io.BytesIO(httpx2.get(answer.data[0].url or "").content)) as linked:
        pixels = np.asarray(linked.convert("RGB").resize((SIDE, SIDE)))
    np.testing.assert_array_equal(pixels, draw(client, "a cat", seed=5)[0])
