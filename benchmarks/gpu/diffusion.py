"""The default diffusion model through the gateway against its own pipeline in diffusers."""

import asyncio
import time
from typing import Any

from benchmarks.gpu.run import IMAGES
from benchmarks.loopback import run_load
from benchmarks.pairs import Ratio, compare
from tests.support.processes import ROOT

_PROMPT, _STEPS, _COUNT = "a red heart", 20, 4


def measure(port: int, rounds: int, *, cuda: bool) -> list[Ratio]:
    """Ratios of images per second, ours over diffusers', one image at a time."""
    pipeline = _pipeline(cuda=cuda)
    name = "images/s, one at a time"

    def ours() -> dict[str, float]:
        bodies = [
            {"model": IMAGES, "prompt": _PROMPT, "n": 1, "seed": seed} for seed in range(_COUNT)
        ]
        _, wall_s = asyncio.run(run_load(port, "/v1/images/generations", bodies, 1))
        return {name: _COUNT / wall_s}

    def peer() -> dict[str, float]:
        started = time.perf_counter()
        for _ in range(_COUNT):
            pipeline(_PROMPT, num_inference_steps=_STEPS, guidance_scale=2.0)
        return {name: _COUNT / (time.perf_counter() - started)}

    return compare(ours, peer, rounds)


def _pipeline(*, cuda: bool) -> Any:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(
        ROOT / "examples" / "emoji" / "pipeline", local_files_only=True, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda" if cuda else "cpu")
