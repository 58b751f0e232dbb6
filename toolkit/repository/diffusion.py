"""Configs of a diffusion model: `text_encoder` → `denoise` → `decode`.

The tensor contract is python_backends/README.md.
"""

from typing import Literal

from toolkit.facts import DiffusionFacts
from toolkit.model_config import ModelConfig
from toolkit.repository.parts import (
    Ensemble,
    Route,
    Step,
    Tensor,
    ensemble_config,
    step_config,
)
from toolkit.repository.running import Running
from toolkit.spec import DiffusionEntry
from toolkit.targets import Target

_PROMPTS = (
    Tensor("prompt", "STRING", (1,)),
    Tensor("negative_prompt", "STRING", (1,), optional=True),
)
_SETTINGS = (
    Tensor("steps", "INT32", (1,), optional=True),
    Tensor("guidance", "FP32", (1,), optional=True),
    Tensor("width", "INT32", (1,), optional=True),
    Tensor("height", "INT32", (1,), optional=True),
    Tensor("seed", "INT64", (1,), optional=True),
    Tensor("count", "INT32", (1,), optional=True),
    Tensor("stop_after", "INT32", (1,), optional=True),
)
_IMAGE = Tensor("image", "STRING", (-1,))
_COUNT = Tensor("num_tokens", "INT32", (1,))


def image_limits(entry: DiffusionEntry, facts: DiffusionFacts) -> dict[str, int | float]:
    """What a request may ask for, in pixels, steps and images, and what it gets by default."""
    return {
        "width": facts.size,
        "height": facts.size,
        "multiple_of": facts.multiple_of,
        "max_size": entry.max_size or facts.size,
        "steps": entry.steps,
        "max_steps": entry.max_steps,
        "guidance": entry.guidance,
        "max_count": entry.max_count,
    }


def diffusion_configs(
    name: str,
    entry: DiffusionEntry,
    facts: DiffusionFacts,
    public: dict[str, object],
    target: Target,
) -> list[ModelConfig]:
    """The ensemble and its three steps; `public` are the parameters of every ensemble."""
    steps = _steps(name, entry, facts)
    routes = [
        Route.same(step, [t.name for t in step.inputs], [t.name for t in step.outputs])
        for step in steps
    ]
    about: dict[str, object] = {"toolkit.image": image_limits(entry, facts)}
    about["toolkit.max_text_bytes"] = facts.text_bytes(facts.tokens)
    ensemble = Ensemble(name, (*_PROMPTS, *_SETTINGS), (_IMAGE, _COUNT))
    configs = [step_config(step, target) for step in steps]
    return [ensemble_config(ensemble, routes, public | about), *configs]


def _steps(name: str, entry: DiffusionEntry, facts: DiffusionFacts) -> tuple[Step, ...]:
    image = image_limits(entry, facts)
    embeddings = Tensor("embeddings", "FP32", (2, facts.rows or facts.tokens, facts.width))
    latents = Tensor("latents", "FP32", (-1, facts.latent_channels, -1, -1))
    denoising: dict[str, object] = {
        "image": image,
        "latent_channels": facts.latent_channels,
        "latent_scale": facts.scale,
    }
    main = Running(entry.instances, warmup=entry.warmup, version_policy=entry.version_policy)
    scaling: dict[str, object] = {
        "scaling_factor": facts.latent_scaling,
        "shift_factor": facts.latent_shift,
    }
    return (
        Step(
            f"{name}.text_encoder",
            "onnx",
            inputs=_PROMPTS,
            outputs=(embeddings, _COUNT),
            parameters={
                "length": facts.tokens,
                "max_text_bytes": facts.text_bytes(facts.tokens),
            },
            device="gpu",
            running=_part(entry, "text_encoder"),
        ),
        Step(
            f"{name}.denoise",
            "onnx",
            inputs=(embeddings, *_SETTINGS),
            outputs=(latents,),
            parameters=denoising,
            device="gpu",
            running=main,
        ),
        Step(
            f"{name}.decode",
            "onnx",
            inputs=(latents,),
            outputs=(_IMAGE,),
            parameters=scaling,
            device="gpu",
            running=_part(entry, "decode"),
        ),
    )


def _part(entry: DiffusionEntry, step: Literal["text_encoder", "decode"]) -> Running:
    return Running.part(entry.parts.get(step))
