"""What a catalogue becomes on a target: models, steps and files, before anything is fetched.

Pure: the same catalogue and target give the same plan. Weights appear by the place that they will
have; what only they can tell (vector length, image size) enters with `configs.model_configs`.
"""

from dataclasses import dataclass

import python_backends
from toolkit.spec import Catalogue, Entry
from toolkit.spec.entries import STEPS
from toolkit.targets import Target

_WEIGHTS = {
    "prompt": ("tokenizer/",),
    "engine": ("weights/",),
    "tokenize": ("tokenizer/",),
    "encoder": ("model.onnx",),
    "text_encoder": ("tokenizer/", "model.onnx"),
    "denoise": ("scheduler/", "model.onnx"),
    "decode": ("model.onnx",),
}


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A model `<name>.<step>`; `backend` is its folder below python_backends/."""

    name: str
    step: str

    @property
    def backend(self) -> str:
        return "vllm_engine" if self.step == "engine" else self.step

    @property
    def code(self) -> tuple[str, ...]:
        """Files below the repository that are copied from python_backends/."""
        files = sorted(python_backends.files(self.backend))
        return tuple(f"{self.name}/1/{file}" for file in files)

    @property
    def weights(self) -> tuple[str, ...]:
        """Files and folders (with a slash) below the repository that hold weights."""
        return tuple(f"{self.name}/1/{part}" for part in _WEIGHTS[self.step])


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A public model: an ensemble of that name, and its steps in order."""

    name: str
    entry: Entry
    steps: tuple[StepPlan, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that will stand below the repository for this model."""
        own = [f"{self.name}/config.pbtxt", f"{self.name}/1/.gitkeep"]
        for step in self.steps:
            own += [f"{step.name}/config.pbtxt", *step.code, *step.weights]
        return tuple(own)


@dataclass(frozen=True, slots=True)
class Plan:
    """All models of a catalogue for one target."""

    target: Target
    models: tuple[ModelPlan, ...]

    def summary(self) -> dict[str, object]:
        """The plan as JSON: stable, without anything of this machine."""
        return {
            "target": self.target.name,
            "triton": self.target.triton,
            "models": {model.name: _summary(model) for model in self.models},
        }


def make_plan(catalogue: Catalogue, target: Target) -> Plan:
    """The plan of every model in the order of models.yaml."""
    return Plan(target, tuple(_model(name, entry) for name, entry in catalogue.models.items()))


def _model(name: str, entry: Entry) -> ModelPlan:
    steps = tuple(StepPlan(f"{name}.{step}", step) for step in STEPS[entry.kind])
    return ModelPlan(name, entry, steps)


def _summary(model: ModelPlan) -> dict[str, object]:
    return {
        "kind": model.entry.kind,
        "source": model.entry.source,
        "steps": [step.name for step in model.steps],
        "files": list(model.files),
    }
