"""Text-to-image models: `text_encoder` → `denoise` → `decode` (python_backends/README.md)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from toolkit import contract
from toolkit.engine_arguments import Engine
from toolkit.errors import ConvertError
from toolkit.facts import TextFacts
from toolkit.fields.entry import SourcedEntry
from toolkit.fields.serving import Part
from toolkit.finding import FieldFinding
from toolkit.kinds.checks import sourced_findings, version_findings, warmup_findings
from toolkit.kinds.conversion import ONNX, Conversion, Rate
from toolkit.kinds.files import PIPELINE, Files
from toolkit.kinds.kind import Building, Kind, KindStep, Rounding, Surroundings
from toolkit.kinds.parts import Ensemble, Model, Route, Running, Step, Tensor

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


_CONVERSION = Conversion(
    "toolkit.convert.diffusion",
    "convert_diffusion",
    3,
    ("torch", "transformers", "diffusers", "onnx", "onnxscript"),
    ONNX,
    Rate(10, 120, memory=3.0),
    source="an image model",
    needs=PIPELINE,
    limited=False,
)


class DiffusionFacts(TextFacts):
    """Pixels and tensor sizes: `size` is the trained side in pixels, latents are `size / scale`
    wide, sides must be multiples of `multiple_of`; prompts of `tokens` become FP32 `[rows, width]`,
    where 0 rows are as many as tokens."""

    kind: Literal["diffusion"] = "diffusion"
    size: int
    scale: int
    multiple_of: int
    latent_channels: int
    tokens: int
    width: int
    latent_scaling: float
    latent_shift: float
    rows: int = 0


class DiffusionEntry(SourcedEntry):
    """A Stable-Diffusion-shaped pipeline, in the diffusers folder layout, that draws images."""

    kind: Literal["diffusion"] = Field(description="A text-to-image model.")
    steps: int = Field(default=25, ge=1, le=1000, description="Default number of denoising steps.")
    max_steps: int = Field(
        default=100, ge=1, le=1000, description="Maximum number of steps of a request."
    )
    guidance: float = Field(
        default=7.5, ge=0, le=100, description="Default classifier-free guidance."
    )
    max_count: int = Field(
        default=4, ge=1, le=128, description="Maximum number of images of one request."
    )
    max_size: int | None = Field(
        default=None,
        ge=8,
        le=16384,
        description="Maximum length of a side in pixels. Default, and minimum: the size that the"
        " model was trained for.",
    )
    parts: dict[Literal["text_encoder", "decode"], Part] = Field(
        default={}, description="Settings of the steps `text_encoder` and `decode`."
    )


class _Diffusion(Kind[DiffusionEntry, DiffusionFacts]):
    name = "diffusion"
    position = 4
    entry = DiffusionEntry
    facts = DiffusionFacts
    wide = DiffusionFacts(
        size=8,  # the smallest, since what an entry asks for must not be below it
        scale=8,
        multiple_of=8,
        latent_channels=-1,
        tokens=-1,
        width=-1,
        latent_scaling=1,
        latent_shift=0,
    )
    interface = contract.INTERFACES["diffusion"]
    steps = tuple(KindStep(step, step) for step in ("text_encoder", "denoise", "decode"))
    estimate = "pipeline"
    # the decoder is made of convolutions, which the 8-bit kernels of CPUs make slower, and its
    # errors show; activations change along the steps of a request
    rounding = Rounding("images", ("text_encoder", "denoise"), fixed_ranges=False)
    weights = "a diffusers pipeline"
    title = "A model that makes images"
    example = "hf:stable-diffusion-v1-5/stable-diffusion-v1-5"
    hints = """\
    # steps: 25                      # default of a request
    # max_count: 4                   # images of one request
"""
    not_here = {
        "response_cache": "images without a seed must differ each time",
        "batching": "`max_count` images of one request are generated together",
    }

    def recognizes(self, files: Files, engine: Engine | None) -> bool:
        return PIPELINE in files.names

    def conversion(self, source: Path) -> Conversion:
        return _CONVERSION

    def findings(
        self, name: str, entry: DiffusionEntry, around: Surroundings
    ) -> Iterator[FieldFinding]:
        yield from sourced_findings(entry, entry.parts.items(), around)
        yield from warmup_findings(entry)
        yield from version_findings(entry, only_first=True)
        if entry.steps > entry.max_steps:
            yield ("steps",), f"is {entry.steps}, more than max_steps {entry.max_steps}", None

    def models(
        self, entry: DiffusionEntry, facts: DiffusionFacts, building: Building
    ) -> list[Model]:
        if entry.max_size is not None and entry.max_size < facts.size:
            raise ConvertError(
                f"is {entry.max_size}, less than the side of {facts.size} of images whose request"
                " does not set a size",
                hint=f"set max_size to {facts.size} or more, or omit it",
                field=("max_size",),
            )
        steps = _steps(building.name, entry, facts)
        routes = [
            Route.same(step, [t.name for t in step.inputs], [t.name for t in step.outputs])
            for step in steps
        ]
        public: dict[str, object] = {
            **building.public,
            contract.KIND: self.name,
            contract.CAPABILITIES: ["image"],
            contract.IMAGE: _limits(entry, facts),
            # of one prompt: each of the two is measured by itself
            contract.MAX_TEXT_BYTES: facts.text_bytes(facts.tokens),
        }
        inputs, outputs = (*_PROMPTS, *_SETTINGS), (_IMAGE, _COUNT)
        return [Ensemble(building.name, inputs, outputs, routes, public), *steps]


KIND = _Diffusion()


def _limits(entry: DiffusionEntry, facts: DiffusionFacts) -> dict[str, int | float]:
    """The bounds and defaults of a request, in pixels, steps and images."""
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


def _steps(name: str, entry: DiffusionEntry, facts: DiffusionFacts) -> tuple[Step, ...]:
    image = _limits(entry, facts)
    # the negative prompt and the prompt
    embeddings = Tensor("embeddings", "FP32", (2, facts.rows or facts.tokens, facts.width))
    # all open but the channels: count and size come from the request
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
