"""The pieces that every generated config is made of: tensors, steps, ensembles.

Knows Triton's schema and the target; knows no kind of model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.model_config import (
    DataType,
    ModelConfig,
    ModelEnsembling,
    ModelInput,
    ModelOutput,
    ModelParameter,
)
from toolkit.repository.running import Running, add_instances, add_queue, add_versions
from toolkit.repository.warmup import add_warmups
from toolkit.targets import Target

TARGET = "toolkit.target"
"""The parameter by which a step knows the server that it was built for."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """`type` as Triton writes it without TYPE_; `dims` exclude the batch, -1 is any length."""

    name: str
    type: str
    dims: tuple[int, ...]
    optional: bool = False
    ragged: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One model behind an ensemble: what it takes and gives, and what its backend is told.

    `environment` is the Python environment, None for the server's own; `device` is where it runs
    unless the catalogue says otherwise: `cpu`, `gpu`, or `model` where the backend decides.
    """

    name: str
    environment: str | None
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    parameters: Mapping[str, object] = field(default_factory=dict)
    backend: str = "python"
    instances: int = 1
    max_batch_size: int = 0
    decoupled: bool = False
    batches: bool = False
    device: str = "cpu"
    running: Running = field(default_factory=Running)


@dataclass(frozen=True, slots=True)
class Route:
    """One step of an ensemble; inputs and outputs map the step's names to the ensemble's."""

    step: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    version: int = -1

    @classmethod
    def same(cls, step: Step, inputs: Sequence[str], outputs: Sequence[str]) -> "Route":
        """A route whose tensors have the same names inside and outside."""
        return cls(step.name, {name: name for name in inputs}, {name: name for name in outputs})


@dataclass(frozen=True, slots=True)
class Ensemble:
    """An ensemble's own side: its tensors, its batches, and whether it answers many times."""

    name: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    max_batch_size: int = 0
    decoupled: bool = False
    running: Running = field(default_factory=Running)


def step_config(step: Step, target: Target) -> ModelConfig:
    """The config of a step that a backend runs."""
    config = ModelConfig(name=step.name, backend=step.backend, max_batch_size=step.max_batch_size)
    _add_tensors(config, step.inputs, step.outputs)
    add_instances(config, step.running, step.device, step.instances, target)
    if step.batches or step.running.batching or step.running.priority:
        add_queue(config, step.running)
    if step.decoupled:
        config.model_transaction_policy.decoupled = True
    add_versions(config, step.running)
    add_warmups(config, step.running)
    if step.backend == "python":
        if target.environments and step.environment:
            path = f"{target.environments}/{step.environment}"
            config.parameters["EXECUTION_ENV_PATH"].string_value = path
        add_parameters(config, {TARGET: target.name})
    add_parameters(config, step.parameters)
    return config


def ensemble_config(
    ensemble: Ensemble, routes: Sequence[Route], parameters: Mapping[str, object]
) -> ModelConfig:
    """The config of an ensemble of these routes."""
    config = ModelConfig(
        name=ensemble.name, platform="ensemble", max_batch_size=ensemble.max_batch_size
    )
    _add_tensors(config, ensemble.inputs, ensemble.outputs)
    for route in routes:
        config.ensemble_scheduling.step.append(
            ModelEnsembling.Step(
                model_name=route.step,
                model_version=route.version,
                input_map=dict(route.inputs),
                output_map=dict(route.outputs),
            )
        )
    if ensemble.decoupled:
        config.model_transaction_policy.decoupled = True
    if ensemble.running.response_cache:
        config.response_cache.enable = True
    add_versions(config, ensemble.running)
    add_parameters(config, parameters)
    return config


def _add_tensors(config: ModelConfig, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    for tensor in inputs:
        config.input.append(
            ModelInput(
                name=tensor.name,
                data_type=data_type(tensor.type),
                dims=tensor.dims,
                optional=tensor.optional,
                allow_ragged_batch=tensor.ragged,
            )
        )
    for tensor in outputs:
        config.output.append(
            ModelOutput(name=tensor.name, data_type=data_type(tensor.type), dims=tensor.dims)
        )


def add_parameters(config: ModelConfig, parameters: Mapping[str, object]) -> None:
    """Writes parameters; what is no text becomes JSON, and None is left out."""
    for name, value in parameters.items():
        if value is None:
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        config.parameters[name].CopyFrom(ModelParameter(string_value=text))


def data_type(name: str) -> DataType.ValueType:
    """Triton's enum value of a type as models.yaml and the contract write it."""
    return DataType.Value(f"TYPE_{name}")
