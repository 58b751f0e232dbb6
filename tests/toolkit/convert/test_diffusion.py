"""A tiny pipeline of random weights goes the way that a real Stable Diffusion directory takes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoint import tree
from tests.support.tiny_pipeline import TOKENS, WIDTH, save_tiny_pipeline
from toolkit.convert.diffusion import convert_diffusion
from toolkit.convert.graph import run
from toolkit.convert.quiet import quiet
from toolkit.errors import ConvertError
from toolkit.kinds.diffusion import DiffusionFacts
from toolkit.progress import silent


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return save_tiny_pipeline(tmp_path_factory.mktemp("tiny") / "pipeline")


@pytest.fixture(scope="module")
def converted(
    pipeline: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, DiffusionFacts]:
    place = tmp_path_factory.mktemp("converted")
    return place, convert_diffusion(pipeline, place, silent)


def test_says_what_configs_need(converted: tuple[Path, DiffusionFacts]) -> None:
    assert converted[1] == DiffusionFacts(
        size=16,
        scale=2,
        multiple_of=4,
        latent_channels=4,
        tokens=TOKENS,
        width=WIDTH,
        latent_scaling=0.18215,
        latent_shift=0.0,
        rows=TOKENS,
    )


def test_writes_each_steps_files(converted: tuple[Path, DiffusionFacts]) -> None:
    place = converted[0]
    assert (place / "text_encoder" / "tokenizer" / "tokenizer.json").exists()
    assert (place / "denoise" / "scheduler" / "scheduler_config.json").exists()
    assert len(list(place.glob("*/model.onnx"))) == 3


def test_a_whole_loop_gives_the_image_of_the_source(
    pipeline: Path, converted: tuple[Path, DiffusionFacts]
) -> None:
    """Five steps of denoising, larger than the pipeline was made for: diffusers against graphs."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    place, facts = converted
    noise = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(3))
    with quiet(), torch.inference_mode():
        source = StableDiffusionPipeline.from_pretrained(
            pipeline, safety_checker=None, feature_extractor=None
        )
        wanted = source(
            "a cat",
            latents=noise,
            num_inference_steps=5,
            guidance_scale=1.0,
            width=24,
            height=24,
            output_type="np",
        ).images[0]
        ids = source.tokenizer("a cat", padding="max_length", max_length=TOKENS).input_ids
    text = run(place / "text_encoder" / "model.onnx", {"input_ids": np.array([ids])})
    scheduler = DDIMScheduler.from_pretrained(place / "denoise" / "scheduler")
    scheduler.set_timesteps(5)
    latents = noise
    for step in scheduler.timesteps:
        feeds = {
            "sample": latents.numpy(),
            "timestep": np.array([float(step)], dtype=np.float32),
            "encoder_hidden_states": text,
        }
        predicted = torch.from_numpy(run(place / "denoise" / "model.onnx", feeds))
        latents = scheduler.step(predicted, step, latents).prev_sample
    unscaled = (latents / facts.latent_scaling).numpy()
    image = run(place / "decode" / "model.onnx", {"latents": unscaled})[0].transpose(1, 2, 0)
    assert np.abs(np.clip(image / 2 + 0.5, 0, 1) - wanted).max() < 1e-3


def test_a_second_run_writes_the_same_bytes(
    pipeline: Path, converted: tuple[Path, DiffusionFacts], tmp_path: Path
) -> None:
    convert_diffusion(pipeline, tmp_path, silent)
    first, second = tree(converted[0]), tree(tmp_path)
    assert first.keys() == second.keys()
    assert [file for file in first if first[file] != second[file]] == []


def test_other_pipelines_are_named(pipeline: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(pipeline, folder)
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"text_encoder_3": ["transformers", "T5"], "unet": ["diffusers", "Other"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(
        ConvertError, match=r"unet is Other, not .*; text_encoder_3 is not supported"
    ):
        convert_diffusion(folder, tmp_path / "out", silent)


def test_a_folder_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="is not a diffusers directory"):
        convert_diffusion(tmp_path, tmp_path / "out", silent)


def test_missing_weights_are_refused(pipeline: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(pipeline, folder)
    shutil.rmtree(folder / "vae")
    with pytest.raises(ConvertError, match="vae does not contain safetensors"):
        convert_diffusion(folder, tmp_path / "out", silent)
