"""Configs of what users declare themselves: a model.py of their own, an ensemble of their own."""

import json
from collections.abc import Mapping
from hashlib import sha256

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
from toolkit.spec import EnsembleEntry, Entry, LlmEntry, PythonEntry
from toolkit.spec.contract import CAPABILITIES
from toolkit.spec.tensors import Input, Output
from toolkit.targets import Target


def python_config(
    name: str, entry: PythonEntry, public: Mapping[str, object], target: Target
) -> ModelConfig:
    """The config of a user's model.py; `public` is empty where clients do not reach it."""
    gpus = any(group.gpus or group.device == "gpu" for group in entry.instances or ())
    step = Step(
        name=name,
        environment=environment_name(entry),
        inputs=_tensors(entry.inputs),
        outputs=_tensors(entry.outputs),
        parameters={**public, **{key: _text(value) for key, value in entry.parameters.items()}},
        max_batch_size=entry.max_batch_size,
        decoupled=entry.decoupled,
        device="gpu" if gpus else "cpu",
        running=Running(
            entry.instances,
            entry.batching,
            entry.priority,
            entry.warmup,
            version_policy=entry.version_policy,
        ),
    )
    config = step_config(step, target)
    if entry.response_cache:
        config.response_cache.enable = True
    return config


def user_ensemble_config(
    name: str, entry: EnsembleEntry, others: Mapping[str, Entry], public: Mapping[str, object]
) -> ModelConfig:
    """The config of a user's ensemble over models of the same catalogue."""
    routes = [Route(step.model, step.inputs, step.outputs, step.version) for step in entry.steps]
    ensemble = Ensemble(
        name=name,
        inputs=_tensors(entry.inputs),
        outputs=_tensors(entry.outputs),
        max_batch_size=entry.max_batch_size,
        decoupled=any(is_decoupled(step.model, others) for step in entry.steps),
        running=Running(response_cache=entry.response_cache, version_policy=entry.version_policy),
    )
    return ensemble_config(ensemble, routes, public)


def is_decoupled(model: str, others: Mapping[str, Entry]) -> bool:
    """Whether a model of the catalogue, or a step of one, answers any number of times."""
    entry = others.get(model)
    match entry:
        case LlmEntry():
            return True
        case PythonEntry(decoupled=decoupled):
            return decoupled
        case EnsembleEntry(steps=steps):
            left = {name: each for name, each in others.items() if name != model}
            return any(is_decoupled(step.model, left) for step in steps)
        case None:
            owner, _, step = model.rpartition(".")
            return step == "engine" and isinstance(others.get(owner), LlmEntry)
    return False


def contract_parameters(entry: PythonEntry | EnsembleEntry) -> dict[str, object]:
    """What the gateway learns of a declared contract, beside what every model says."""
    contract = entry.contract
    if contract is None:
        return {}
    found: dict[str, object] = {
        "toolkit.kind": contract.kind,
        "toolkit.capabilities": list(contract.capabilities or CAPABILITIES[contract.kind]),
    }
    for field in ("context_length", "dimensions", "cancel"):
        if (value := getattr(contract, field)) is not None:
            found[f"toolkit.{field}"] = value
    if contract.image:
        found["toolkit.image"] = contract.image.model_dump()
    return found


def entry_digest(entry: EnsembleEntry) -> str:
    """The digest of what makes an ensemble: its own entry."""
    text = json.dumps(entry.model_dump(mode="json"), sort_keys=True)
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def environment_name(entry: PythonEntry) -> str | None:
    """The folder below `.environments/` that a user's model runs in, None for the server's own."""
    if isinstance(entry.packages, tuple):
        text = "\n".join(sorted(entry.packages))  # as `toolkit.runtime.environments` finds it
        return f"own-{sha256(text.encode()).hexdigest()[:12]}"
    return None if entry.packages == "server" else entry.packages


def _tensors(declared: Mapping[str, Output]) -> list[Tensor]:
    return [
        Tensor(
            name,
            tensor.type,
            tensor.dims,
            optional=isinstance(tensor, Input) and tensor.optional,
            ragged=isinstance(tensor, Input) and tensor.ragged,
        )
        for name, tensor in declared.items()
    ]


def _text(value: str | int | float | bool) -> str:
    return value if isinstance(value, str) else json.dumps(value)
