"""Draws an image with a converted diffusion model, through the code that serves it.

Used to compare conversions at equal seeds; does not depend on Triton.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.backends import load_served
from toolkit.errors import ConvertError
from toolkit.kinds import read_facts
from toolkit.kinds.diffusion import DiffusionFacts

FLOAT, INT64 = "tensor(float)", "tensor(int64)"
"""Types as ONNX Runtime writes them."""
_Tensors = dict[str, tuple[str, int]]
Pixels = npt.NDArray[np.uint8]
STEPS = 8
# above 1, or the empty prompt would not count; at 3 a small model drew 17 % of prompts right, at
# 1.5 99 %
_GUIDANCE = 2.0
_LOSSLESS_DB = 99.0


def draw(folder: Path, prompt: str, seed: int) -> Pixels:
    """UINT8 `[H, W, 3]` of the trained size, from a converted directory."""
    facts = read_facts(folder)
    if not isinstance(facts, DiffusionFacts):
        raise ConvertError(f"{folder} is a {facts.kind} model and does not generate images")
    embeddings = _embeddings(folder, prompt, facts)
    order = load_served("denoise/order.py").Order(STEPS, _GUIDANCE, facts.size, facts.size, seed, 1)
    latents = _denoiser(folder, facts).run(embeddings, order)
    unscaled = (latents / facts.latent_scaling + facts.latent_shift).astype(np.float32)
    graph = _graph(_settings(folder, "decode", {}), {"latents": (FLOAT, 4)}, {"image": (FLOAT, 4)})
    image = graph.run({"latents": unscaled})["image"][0]
    return np.asarray(load_served("decode/pictures.py").to_pixels(image), dtype=np.uint8)


def psnr(one: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio in dB; `_LOSSLESS_DB` for equal images."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    # equal images would have infinity, which JSON cannot hold
    return min(_LOSSLESS_DB, 10 * math.log10(255**2 / error)) if error else _LOSSLESS_DB


def _settings(folder: Path, step: str, parameters: dict[str, str]) -> Any:
    return load_served("triton.py").Settings(step, folder / step, parameters)


def _graph(settings: Any, inputs: _Tensors, outputs: _Tensors) -> Any:
    return load_served("onnx.py").Graph.load(settings, inputs, outputs)


def _embeddings(folder: Path, prompt: str, facts: DiffusionFacts) -> Any:
    settings = _settings(folder, "text_encoder", {})
    graph = _graph(settings, {"input_ids": (INT64, 2)}, {"embeddings": (FLOAT, 3)})
    prompts = load_served("text_encoder/prompts.py")
    tokenizer = prompts.PromptTokenizer.load(folder / "text_encoder" / "tokenizer", facts.tokens)
    return graph.run({"input_ids": tokenizer.pair("", prompt)})["embeddings"]


def _denoiser(folder: Path, facts: DiffusionFacts) -> Any:
    about = {"latent_channels": str(facts.latent_channels), "latent_scale": str(facts.scale)}
    settings = _settings(folder, "denoise", about)
    inputs = {
        "sample": (FLOAT, 4),
        "timestep": (f"{FLOAT}|{INT64}", 1),
        "encoder_hidden_states": (FLOAT, 3),
    }
    graph = _graph(settings, inputs, {"noise": (FLOAT, 4)})
    return load_served("denoise/diffusion.py").Denoiser.load(settings, graph)
