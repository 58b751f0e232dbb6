"""Configs of a diffusion model: `text_encoder` → `denoise` → `decode`.

The tensor contract is python_backends/README.md.
"""

from tritonclient.grpc.model_config_pb2 import ModelConfig

from toolkit.facts import DiffusionFacts
from toolkit.repository.parts import Route, Step, Tensor, ensemble_config, step_config
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
)
_IMAGE = Tensor("image", "STRING", (-1,))


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
    steps = _steps(name, facts, image_limits(entry, facts))
    routes = [
        Route(step, [tensor.name for tensor in step.inputs], [step.outputs[0].name])
        for step in steps
    ]
    about = {"toolkit.image": image_limits(entry, facts)}
    ensemble = ensemble_config(name, ((*_PROMPTS, *_SETTINGS), (_IMAGE,)), routes, public | about)
    return [ensemble, *(step_config(step, target) for step in steps)]


def _steps(name: str, facts: DiffusionFacts, image: dict[str, int | float]) -> tuple[Step, ...]:
    embeddings = Tensor("embeddings", "FP32", (2, facts.tokens, facts.width))
    latents = Tensor("latents", "FP32", (-1, facts.latent_channels, -1, -1))
    denoising = {
        "image": image,
        "latent_channels": facts.latent_channels,
        "latent_scale": facts.scale,
    }
    scaling = {"scaling_factor": facts.latent_scaling, "shift_factor": facts.latent_shift}
    return (
        Step(
            f"{name}.text_encoder",
            "onnx",
            inputs=_PROMPTS,
            outputs=(embeddings,),
            parameters={"length": facts.tokens},
        ),
        Step(
            f"{name}.denoise",
            "onnx",
            inputs=(embeddings, *_SETTINGS),
            outputs=(latents,),
            parameters=denoising,
        ),
        Step(f"{name}.decode", "onnx", inputs=(latents,), outputs=(_IMAGE,), parameters=scaling),
    )
