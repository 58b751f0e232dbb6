"""The diffusion loop: scheduler from diffusers, noise from per-image generators, UNet from ONNX.

Only the scheduler uses torch. Each image's noise comes from its own seed, on the CPU, so the same
seed and settings give the same image, independent of other images in the request.
"""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from python_backends.denoise.order import Order
from python_backends.onnx import INT64, Graph
from python_backends.triton import Array, Settings


@dataclass(frozen=True, slots=True)
class Denoiser:
    """One model's loop."""

    graph: Graph
    scheduler: Any
    channels: int
    scale: int
    images_per_run: int

    @classmethod
    def load(cls, settings: Settings, graph: Graph) -> "Denoiser":
        """Loads the graph, and the scheduler class that `scheduler_config.json` names."""
        import torch

        torch.set_num_threads(1)  # the scheduler's arithmetic is small; cores are for the graph
        scheduler = load_scheduler(settings.path("scheduler", "scheduler"))
        return cls(
            graph,
            scheduler,
            channels=settings.number("latent_channels", 4),
            scale=settings.number("latent_scale", 8),
            images_per_run=settings.number("images_per_run", 1),
        )

    def run(self, embeddings: Array, order: Order) -> Array:
        """Latents FP32 [count, channels, height / scale, width / scale]; embeddings [2, L, D]."""
        size = self.images_per_run
        runs = [order.seeds[start : start + size] for start in range(0, order.count, size)]
        return np.concatenate([self._run(embeddings, order, seeds) for seeds in runs])

    def _run(self, embeddings: Array, order: Order, seeds: list[int]) -> Array:
        import torch

        scheduler = type(self.scheduler).from_config(self.scheduler.config)  # it keeps state
        scheduler.set_timesteps(order.steps)
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        # one call per image: the noise of a batch would depend on its size
        shape = (1, self.channels, order.height // self.scale, order.width // self.scale)
        noise = [torch.randn(shape, generator=generator) for generator in generators]
        latents = torch.cat(noise) * scheduler.init_noise_sigma
        # up to 1 the negative prompt has no weight in eq. 6: half of the computation is saved
        halves = embeddings if order.guidance > 1 else embeddings[1:]
        # each half is repeated as a whole, in the order of [latents, latents] in `_predict`
        text = np.repeat(halves.astype(np.float32, copy=False), len(seeds), axis=0)
        extra = _step_options(scheduler, generators)
        stop = len(scheduler.timesteps) if order.stop_after is None else order.stop_after
        for number, timestep in enumerate(scheduler.timesteps, start=1):
            scaled = scheduler.scale_model_input(latents, timestep).numpy()
            predicted = self._predict(scaled, float(timestep), text, order.guidance)
            step = scheduler.step(torch.from_numpy(predicted), timestep, latents, **extra)
            latents = step.prev_sample
            if number == stop < len(scheduler.timesteps):
                latents = _estimate(step, scheduler)
                break
        return np.ascontiguousarray(latents.numpy(), dtype=np.float32)

    def _predict(self, latents: Array, timestep: float, text: Array, guidance: float) -> Array:
        """Classifier-free guidance (Ho and Salimans 2022, eq. 6), both halves in one run."""
        guided = guidance > 1
        feeds = {
            "sample": np.concatenate([latents, latents]) if guided else latents,
            "timestep": self._time(timestep),
            "encoder_hidden_states": text,
        }
        noise = self.graph.run(feeds)["noise"]
        if not guided:
            return noise
        without, with_text = np.split(noise, 2)
        guided_noise: Array = without + np.float32(guidance) * (with_text - without)
        return guided_noise

    def _time(self, timestep: float) -> Array:
        """The scheduler's step, rounded to an integer for a graph with an INT64 input."""
        if self.graph.input_type("timestep") == INT64:
            return np.array([round(timestep)], dtype=np.int64)
        return np.array([timestep], dtype=np.float32)


def _estimate(step: Any, scheduler: Any) -> Any:
    """The scheduler's estimate of the clean image, if it has one, else the noisy latents."""
    # DDPM, DDIM and Euler schedulers return it beside the sample
    if (clean := getattr(step, "pred_original_sample", None)) is not None:
        return clean
    # `endswith` also covers "sde-dpmsolver++"
    if str(getattr(scheduler.config, "algorithm_type", "")).endswith("dpmsolver++"):
        return scheduler.model_outputs[-1]  # it predicts data (Lu et al. 2022, DPM-Solver++, §4)
    return step.prev_sample


def load_scheduler(folder: Path) -> Any:
    """The diffusers scheduler of a folder, by the class that its config names."""
    import diffusers

    config = json.loads((folder / "scheduler_config.json").read_text())
    return getattr(diffusers, config["_class_name"]).from_config(config)


def _step_options(scheduler: Any, generators: list[Any]) -> dict[str, Any]:
    """Makes schedulers that add noise in each step draw it from the images' own generators."""
    accepted = inspect.signature(scheduler.step).parameters
    return {"generator": generators} if "generator" in accepted else {}
