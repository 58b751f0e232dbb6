"""Writes steps and ensembles as Triton's configs. It does not depend on a kind of model."""

import json
from collections.abc import Mapping, Sequence

from toolkit.contract import TARGET
from toolkit.kinds.parts import Ensemble, Model, Step, Tensor
from toolkit.model_config import (
    DataType,
    ModelConfig,
    ModelEnsembling,
    ModelInput,
    ModelOutput,
    ModelParameter,
)
from toolkit.repository.running import add_instances, add_queue, add_versions
from toolkit.repository.warmup import add_warmups
from toolkit.targets import Target


def model_config(model: Model, target: Target) -> ModelConfig:
    """The config of one model."""
    return _step_config(model, target) if isinstance(model, Step) else _ensemble_config(model)


def _step_config(step: Step, target: Target) -> ModelConfig:
    config = ModelConfig(name=step.name, backend=step.backend, max_batch_size=step.max_batch_size)
    _add_tensors(config, step.inputs, step.outputs)
    add_instances(config, step.running, step.device, step.instances, target)
    # priorities are a part of the batcher's queue in Triton
    if step.batches or step.running.batching or step.running.priority:
        add_queue(config, step.running)
    if step.running.response_cache:
        config.response_cache.enable = True
    # written out, as servers may run with --disable-auto-complete-config
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


def _ensemble_config(ensemble: Ensemble) -> ModelConfig:
    config = ModelConfig(
        name=ensemble.name, platform="ensemble", max_batch_size=ensemble.max_batch_size
    )
    _add_tensors(config, ensemble.inputs, ensemble.outputs)
    for route in ensemble.routes:
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
    add_parameters(config, ensemble.parameters)
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
    """Writes parameters; values other than strings become JSON, and None is omitted."""
    for name, value in parameters.items():
        if value is None:
            continue
        # parameters have only `string_value`
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        config.parameters[name].CopyFrom(ModelParameter(string_value=text))


def data_type(name: str) -> DataType.ValueType:
    """Triton's enum value of a type as models.yaml and the contract write it."""
    return DataType.Value(f"TYPE_{name}")
