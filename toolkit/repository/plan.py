"""What a catalogue becomes on a target: models, steps and files, before anything is fetched.

Pure: the same catalogue and target give the same plan. Weights appear by the place that they will
have; what only they can tell (vector length, image size) enters with `configs.model_configs`.
"""

from dataclasses import dataclass

from toolkit.backends import backend_files
from toolkit.spec import Catalogue, EnsembleEntry, Entry, LlmEntry, PythonEntry
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
TOKENIZING = {
    "llm": "prompt",
    "embedding": "tokenize",
    "rerank": "tokenize",
    "diffusion": "text_encoder",
}
"""The step of each kind that has the tokenizer."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A model `<name>.<step>`; `backend` is its folder below python_backends/, None for a graph
    that the server runs by itself. `own` are further files and folders of the version."""

    name: str
    step: str
    backend: str | None
    own: tuple[str, ...] = ()

    @property
    def code(self) -> tuple[str, ...]:
        """Files below the repository that are copied from python_backends/."""
        files = sorted(backend_files(self.backend)) if self.backend else []
        return tuple(f"{self.name}/1/{file}" for file in files)

    @property
    def weights(self) -> tuple[str, ...]:
        """Files and folders (with a slash) below the repository that hold weights."""
        return tuple(f"{self.name}/1/{part}" for part in (*_WEIGHTS[self.step], *self.own))


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A public model: an ensemble of that name and its steps in order, or a user's own model.

    `adapters` are the ensembles of its LoRA adapters; their steps are among the others.
    """

    name: str
    entry: Entry
    steps: tuple[StepPlan, ...]
    adapters: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The models of the repository that belong to it."""
        return (self.name, *(step.name for step in self.steps), *self.adapters)

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that will stand below the repository for this model."""
        if isinstance(self.entry, PythonEntry):
            return (f"{self.name}/config.pbtxt", f"{self.name}/1/model.py")
        own = []
        for name in (self.name, *self.adapters):
            own += [f"{name}/config.pbtxt", f"{name}/1/.gitkeep"]
        for step in self.steps:
            own += [f"{step.name}/config.pbtxt", *step.code, *step.weights]
        return tuple(own)


@dataclass(frozen=True, slots=True)
class Plan:
    """All models of a catalogue for one target. `file` is the name of the models.yaml."""

    target: Target
    models: tuple[ModelPlan, ...]
    file: str = "models.yaml"

    @property
    def entries(self) -> dict[str, Entry]:
        """The catalogue's entries by name."""
        return {model.name: model.entry for model in self.models}

    def summary(self) -> dict[str, object]:
        """The plan as JSON: stable, without anything of this machine."""
        return {
            "target": self.target.name,
            "triton": self.target.triton,
            "models": {model.name: _summary(model) for model in self.models},
        }


def make_plan(catalogue: Catalogue, target: Target, file: str = "models.yaml") -> Plan:
    """The plan of every model in the order of models.yaml."""
    models = (_model(name, entry, target) for name, entry in catalogue.models.items())
    return Plan(target, tuple(models), file)


def _model(name: str, entry: Entry, target: Target) -> ModelPlan:
    steps = [_step(name, step, target) for step in STEPS[entry.kind]]
    if not isinstance(entry, LlmEntry):
        return ModelPlan(name, entry, tuple(steps))
    adapters = tuple(entry.adapters)
    steps[1] = StepPlan(
        f"{name}.engine",
        "engine",
        "vllm_engine",
        tuple(f"adapters/{adapter}/" for adapter in adapters),
    )
    steps += [_step(adapter, "prompt", target) for adapter in adapters]
    return ModelPlan(name, entry, tuple(steps), adapters)


def _step(name: str, step: str, target: Target) -> StepPlan:
    backend: str | None = "vllm_engine" if step == "engine" else step
    if step == "encoder" and target.native_onnx:
        backend = None
    return StepPlan(f"{name}.{step}", step, backend)


def _summary(model: ModelPlan) -> dict[str, object]:
    entry = model.entry
    steps = [step.name for step in model.steps]
    if isinstance(entry, EnsembleEntry):
        steps = [step.model for step in entry.steps]
    return {
        "kind": entry.kind,
        "source": None if isinstance(entry, EnsembleEntry) else str(entry.origin),
        "steps": steps,
        "files": list(model.files),
    }
