"""The pieces that every generated config is made of: tensors, steps, ensembles.

Knows Triton's schema and the target; knows no kind of model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tritonclient.grpc.model_config_pb2 import (
    DataType,
    ModelConfig,
    ModelEnsembling,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelParameter,
)

from toolkit.targets import Target


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
    """One model behind an ensemble: what it takes and gives, and what its backend is told."""

    name: str
    environment: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    parameters: Mapping[str, object] = field(default_factory=dict)
    instances: int = 1
    max_batch_size: int = 0
    decoupled: bool = False
    batches: bool = False
    whole_device: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One step of an ensemble; names not listed are the same inside and outside."""

    step: Step
    inputs: Sequence[str]
    outputs: Sequence[str]


def step_config(step: Step, target: Target) -> ModelConfig:
    """The config of a step that the Python backend runs."""
    config = ModelConfig(name=step.name, backend="python", max_batch_size=step.max_batch_size)
    _add_tensors(config, step.inputs, step.outputs)
    config.instance_group.append(_instances(step, target))
    if step.batches:
        config.dynamic_batching.SetInParent()
    if step.decoupled:
        config.model_transaction_policy.decoupled = True
    if target.environments:
        path = f"{target.environments}/{step.environment}"
        config.parameters["EXECUTION_ENV_PATH"].string_value = path
    _add_parameters(config, step.parameters)
    return config


def ensemble_config(
    name: str,
    tensors: tuple[Sequence[Tensor], Sequence[Tensor]],
    routes: Sequence[Route],
    parameters: Mapping[str, object],
) -> ModelConfig:
    """The config of an ensemble; `tensors` are its inputs and its outputs."""
    batch = min(route.step.max_batch_size for route in routes)
    config = ModelConfig(name=name, platform="ensemble", max_batch_size=batch)
    _add_tensors(config, *tensors)
    for route in routes:
        config.ensemble_scheduling.step.append(
            ModelEnsembling.Step(
                model_name=route.step.name,
                model_version=-1,
                input_map={tensor: tensor for tensor in route.inputs},
                output_map={tensor: tensor for tensor in route.outputs},
            )
        )
    if any(route.step.decoupled for route in routes):
        config.model_transaction_policy.decoupled = True
    _add_parameters(config, parameters)
    return config


def _add_tensors(config: ModelConfig, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    for tensor in inputs:
        config.input.append(
            ModelInput(
                name=tensor.name,
                data_type=_type(tensor),
                dims=tensor.dims,
                optional=tensor.optional,
                allow_ragged_batch=tensor.ragged,
            )
        )
    for tensor in outputs:
        config.output.append(
            ModelOutput(name=tensor.name, data_type=_type(tensor), dims=tensor.dims)
        )


def _add_parameters(config: ModelConfig, parameters: Mapping[str, object]) -> None:
    for name, value in parameters.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        config.parameters[name].CopyFrom(ModelParameter(string_value=text))


def _instances(step: Step, target: Target) -> ModelInstanceGroup:
    whole = step.whole_device and target.gpu
    kind = ModelInstanceGroup.KIND_MODEL if whole else ModelInstanceGroup.KIND_CPU
    return ModelInstanceGroup(kind=kind, count=step.instances)


def _type(tensor: Tensor) -> DataType.ValueType:
    return DataType.Value(f"TYPE_{tensor.type}")
