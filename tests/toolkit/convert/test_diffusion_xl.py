"""A tiny pipeline shaped like Stable Diffusion XL: converted, built, served, against diffusers."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.client import request_of, tensors_of
from tests.support.tiny_pipeline import TOKENS, WIDTH, save_tiny_xl
from tests.support.triton import serving
from toolkit.building import build
from toolkit.convert.diffusion import convert_diffusion
from toolkit.convert.quiet import quiet
from toolkit.errors import ConvertError
from toolkit.kinds.diffusion import DiffusionFacts
from toolkit.progress import silent
from toolkit.serve.triton import TritonServer
from toolkit.spec import load
from toolkit.targets import find_target

SEED, STEPS, GUIDANCE = 5, 4, 3.0
PROMPT = "a cat q"  # q pads the second tokenizer's prompts


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return save_tiny_xl(tmp_path_factory.mktemp("xl") / "pipeline")


def drawn(pipeline: Path, side: int) -> np.ndarray:
    """What diffusers draws, with the noise of our seed."""
    from diffusers import StableDiffusionXLPipeline

    noise = torch.randn((1, 4, side // 2, side // 2), generator=torch.Generator().manual_seed(SEED))
    with quiet(), torch.inference_mode():
        source = StableDiffusionXLPipeline.from_pretrained(pipeline, add_watermarker=False)
        found = source(
            PROMPT,
            latents=noise,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            width=side,
            height=side,
            output_type="np",
        ).images[0]
    return np.asarray(found)


def test_served_images_are_those_of_diffusers(pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        f"version: 1\nmodels:\n  xl: {{kind: diffusion, source: 'path:{pipeline}', max_size: 32}}\n"
    )
    output = tmp_path / "repository"
    built = build(load(tmp_path / "models.yaml"), find_target("embedded"), output)
    facts = built.prepared["xl"].facts
    assert isinstance(facts, DiffusionFacts)
    assert (facts.tokens, facts.rows, facts.width) == (TOKENS, TOKENS + 1, 2 * WIDTH)
    with serving(output, tmp_path / "log", ["xl"]) as server:
        for side in (facts.size, 2 * facts.size):  # also larger than it was exported with
            found = served(server, side)
            wanted = np.rint(drawn(pipeline, side) * 255).astype(int)
            assert found.shape == wanted.shape == (side, side, 3)
            assert np.abs(found - wanted).max() <= 1
            assert wanted.std() > 5  # there is something to see


def served(server: TritonServer, side: int) -> np.ndarray:
    tensors = {
        "prompt": np.array([PROMPT.encode()], np.object_),
        "steps": np.array([STEPS], np.int32),
        "guidance": np.array([GUIDANCE], np.float32),
        "width": np.array([side], np.int32),
        "height": np.array([side], np.int32),
        "seed": np.array([SEED], np.int64),
    }
    answer = server.api.ModelInfer(request_of("xl", tensors), timeout=60)
    (file,) = tensors_of(answer)["image"]
    return np.asarray(Image.open(io.BytesIO(file))).astype(int)


def test_what_is_no_xl_is_refused(pipeline: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(pipeline, folder)
    index = json.loads((folder / "model_index.json").read_text())
    refiner = index | {"requires_aesthetics_score": True}
    (folder / "model_index.json").write_text(json.dumps(refiner))
    with pytest.raises(ConvertError, match="refines images"):
        convert_diffusion(folder, tmp_path / "out", silent)
    (folder / "model_index.json").write_text(json.dumps(index))
    words = {"a": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}
    (folder / "tokenizer_2" / "vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer_2" / "tokenizer.json").unlink(missing_ok=True)
    with pytest.raises(ConvertError, match="two tokenizers differ"):
        convert_diffusion(folder, tmp_path / "out", silent)
