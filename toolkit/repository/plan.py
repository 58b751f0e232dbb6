"""Plans the models, steps and files of a models.yaml on a target, before anything is fetched.

Pure: the same entries and target give the same plan. Weights are represented by their future
paths; facts of the weights (vector length, image size) are added in `repository.configs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit import kinds
from toolkit.backends import backend_files
from toolkit.fields.entry import BaseEntry, SourcedEntry
from toolkit.kinds.kind import StepPlan
from toolkit.targets import Target


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A public model and its steps in order; `public` are all names of models that clients see."""

    name: str
    entry: BaseEntry
    steps: tuple[StepPlan, ...]
    public: tuple[str, ...]

    @property
    def folders(self) -> tuple[str, ...]:
        """The models of the repository that belong to it."""
        return (self.name, *(step.name for step in self.steps), *self.public[1:])

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the repository that belong to it; folders of weights end with a slash."""
        code = kinds.of(self.entry).code_files
        own = []
        for name in self.public:
            own += [f"{name}/config.pbtxt", *(f"{name}/1/{file}" for file in code)]
        for step in self.steps:
            files = (*sorted(step_code(step)), *step.files)
            own += [f"{step.name}/config.pbtxt", *(f"{step.name}/1/{file}" for file in files)]
        return tuple(own)


@dataclass(frozen=True, slots=True)
class Plan:
    """All models of a models.yaml for one target. `file` is its name."""

    target: Target
    models: tuple[ModelPlan, ...]
    file: str = "models.yaml"

    @property
    def entries(self) -> dict[str, BaseEntry]:
        """The entries by name."""
        return {model.name: model.entry for model in self.models}

    def summary(self) -> dict[str, object]:
        """The plan as JSON: stable, without anything of this machine."""
        return {
            "target": self.target.name,
            "triton": self.target.triton,
            "models": {model.name: _summary(model) for model in self.models},
        }


def make_plan(models: Mapping[str, BaseEntry], target: Target, file: str = "models.yaml") -> Plan:
    """The plan of every model in the order of models.yaml."""
    return Plan(target, tuple(_model(name, models[name], target) for name in models), file)


def step_code(step: StepPlan) -> list[str]:
    """Files of a step's version that are copied from python_backends."""
    return list(backend_files(step.backend)) if step.backend else []


def _model(name: str, entry: BaseEntry, target: Target) -> ModelPlan:
    kind = kinds.of(entry)
    steps = tuple(kind.plan(name, entry, target))
    return ModelPlan(name, entry, steps, kind.public_names(name, entry))


def _summary(model: ModelPlan) -> dict[str, object]:
    entry = model.entry
    return {
        "kind": entry.kind,
        "source": str(entry.origin) if isinstance(entry, SourcedEntry) else None,
        # an ensemble of a user has no steps of its own, but names others
        "steps": [step.name for step in model.steps] or kinds.of(entry).parts_of(entry),
        "files": list(model.files),
    }
