"""An ensemble as a graph of steps and the tensors between them.

The graph is built from the configs of the ensemble and its steps in the same way as in Triton's
core. It contains facts only; the rules decide what is wrong.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from toolkit.model_config import ModelEnsembling, ModelInstanceGroup
from toolkit.verifier.backends import COMPLETING
from toolkit.verifier.model import Model
from toolkit.verifier.python_source import defines

_STREAMING = {"vllm", "tensorrtllm"}
"""Backends whose models are or may be decoupled, regardless of the config."""
# their default `count` for KIND_CPU is 2, everywhere else it is 1
_TWO_ON_CPU = {"onnxruntime", "tensorflow"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `model` is None if it does not exist or its config cannot be read."""

    index: int
    config: ModelEnsembling.Step
    model: Model | None

    @property
    def path(self) -> str:
        """The path of the step in the ensemble's config."""
        return f"ensemble_scheduling.step[{self.index}]"

    def input_path(self, name: str) -> str:
        return f'{self.path}.input_map["{name}"]'

    def output_path(self, name: str) -> str:
        return f'{self.path}.output_map["{name}"]'

    @property
    def known(self) -> bool:
        """Whether the config of the model declares all its inputs and outputs."""
        return self.model is not None and declares_tensors(self.model)


@dataclass(frozen=True, slots=True)
class Use:
    """One end of a tensor, at the ensemble or a step (`owner`). Dims do not include the batch."""

    tensor: str
    path: str
    owner: str
    data_type: int
    dims: tuple[int, ...]
    batch: int

    @property
    def full(self) -> tuple[int, ...]:
        """Dims with the batch dimension, if the owner has one."""
        return (-1, *self.dims) if self.batch > 0 else self.dims


@dataclass
class Ensemble:
    """The graph of `model`, which must be an ensemble."""

    model: Model
    readers: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list), init=False)
    writers: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list), init=False)

    def __post_init__(self) -> None:
        for step in self.steps:
            # a step that reads a tensor twice is still one reader
            for tensor in dict.fromkeys(step.config.input_map.values()):
                self.readers[tensor].append(step)
            for tensor in step.config.output_map.values():
                self.writers[tensor].append(step)

    @cached_property
    def steps(self) -> list[Step]:
        known = self.model.neighbours
        steps = self.model.config.ensemble_scheduling.step
        return [Step(i, each, readable(known.get(each.model_name))) for i, each in enumerate(steps)]

    @cached_property
    def inputs(self) -> list[str]:
        return [each.name for each in self.model.config.input]

    @cached_property
    def outputs(self) -> list[str]:
        return [each.name for each in self.model.config.output]

    @cached_property
    def ready(self) -> set[str]:
        """Tensors that can be computed from the ensemble inputs."""
        ready, waiting = set(self.inputs), list(self.steps)
        while runnable := [s for s in waiting if set(s.config.input_map.values()) <= ready]:
            waiting = [step for step in waiting if step not in runnable]
            ready |= {tensor for step in runnable for tensor in step.config.output_map.values()}
        return ready

    def uses(self) -> Iterator[Use]:
        """All ends of all tensors whose type is known, those of the ensemble first."""
        config = self.model.config
        for kind in ("input", "output"):
            for index, each in enumerate(getattr(config, kind)):
                dims = each.reshape.shape if each.HasField("reshape") else each.dims
                path = f"{kind}[{index}]"
                who = f"the ensemble's {kind}"
                yield Use(each.name, path, who, each.data_type, tuple(dims), config.max_batch_size)
        for step in self.steps:
            if step.known:
                yield from _step_uses(step)

    @cached_property
    def labels(self) -> dict[str, int]:
        """Tensor → the decoupled step that determines its number of responses; 0: one per request.

        Tensors after a step that joins different numbers are missing.
        """
        labels = dict.fromkeys(self.inputs, 0)
        waiting, latest = list(self.steps), 0
        while runnable := [s for s in waiting if set(s.config.input_map.values()) <= set(labels)]:
            for step in runnable:
                waiting.remove(step)
                origins = {labels[tensor] for tensor in step.config.input_map.values()}
                # the join itself is reported by `ensemble-decoupled-join`, once
                if len(origins) > 1:
                    continue
                decoupled = step.model is not None and is_decoupled(step.model)
                latest += decoupled
                label = latest if decoupled else next(iter(origins), 0)
                for tensor in step.config.output_map.values():
                    # an ensemble input that a step overwrites keeps its own
                    labels.setdefault(tensor, label)
        return labels


def readable(model: Model | None) -> Model | None:
    """The model, if its config can be read."""
    return model if model and model.text is not None and model.error is None else None


def declares_tensors(model: Model) -> bool:
    """False if the backend may add inputs and outputs to those in the config."""
    config = model.config
    if model.is_ensemble or (config.input and config.output):
        return True
    backend = model.served.backend
    if backend != "python":
        return backend not in COMPLETING and backend in model.target.backends
    files = [folder / model.served.filename for folder in model.served_versions.values()]
    # without a model.py nothing is known, and nothing is reported
    return bool(files) and not any(defines(file, "auto_complete_config") for file in files)


def is_decoupled(model: Model, above: frozenset[str] = frozenset()) -> bool:
    """Whether a request may have several responses; an ensemble depends on its steps."""
    if model.config.HasField("ensemble_scheduling"):
        # `above`: ensembles that contain each other must not recurse forever
        steps = [s.model for s in Ensemble(model).steps if s.model and s.model.name not in above]
        return any(is_decoupled(step, above | {model.name}) for step in steps)
    return model.config.model_transaction_policy.decoupled or (
        model.served.backend in _STREAMING and not declares_tensors(model)
    )


def instances(model: Model) -> int:
    """How many requests the model can process at the same time."""
    if model.is_ensemble:
        return 1
    groups = model.config.instance_group
    on_cpu = 2 if model.served.backend in _TWO_ON_CPU and model.target.gpus == 0 else 1
    if not groups:
        return on_cpu
    return sum(_count(group, on_cpu) * max(1, len(group.gpus)) for group in groups)


def _count(group: ModelInstanceGroup, on_cpu: int) -> int:
    return group.count if group.count > 0 else on_cpu


def _step_uses(step: Step) -> Iterator[Use]:
    assert step.model is not None
    config = step.model.config
    for kind, mapping, where in (
        ("input", step.config.input_map, step.input_path),
        ("output", step.config.output_map, step.output_path),
    ):
        for each in getattr(config, kind):
            if each.name in mapping and each.data_type and each.dims:
                yield Use(
                    mapping[each.name],
                    where(each.name) + ".value",
                    f"{kind} '{each.name}' of {step.model.name}",
                    each.data_type,
                    tuple(each.dims),
                    config.max_batch_size,
                )
