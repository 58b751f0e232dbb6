"""What must hold where an ensemble joins its steps: names, types, shapes, origins of data.

A tensor's origins are the decoupled steps that it depends on: Triton cannot join two streams.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tritonclient.grpc.model_config_pb2 import DataType, ModelInput, ModelOutput

from toolkit.errors import Finding
from toolkit.repository.folder import ModelFolder

Tensor: TypeAlias = ModelInput | ModelOutput
Models = Mapping[str, ModelFolder]
_STEPS = "ensemble_scheduling"


@dataclass(frozen=True, slots=True)
class _Port:
    """A tensor of the ensemble as one model declares it; `batched`: that model adds a batch."""

    owner: str
    tensor: Tensor
    batched: bool


def check_ensemble(model: ModelFolder, models: Models) -> Iterator[Finding]:
    """Findings in an ensemble's graph; `models` are all of the repository."""
    steps = list(model.config.ensemble_scheduling.step)
    if not steps:
        yield model.finding((_STEPS,), "has no steps")
    for index, step in enumerate(steps):
        if step.model_name not in models:
            yield model.finding(
                (_STEPS, "step", index, "model_name"),
                f"there is no model '{step.model_name}' beside '{model.name}'",
            )
    if all(step.model_name in models for step in steps) and steps:
        yield from _ports(model, models)
        yield from _types(model, models)
        yield from _flow(model)
        yield from _streams(model, models)


def _ports(model: ModelFolder, models: Models) -> Iterator[Finding]:
    """Every mapped tensor exists in its step, and every input that a step needs is mapped."""
    for index, step in enumerate(model.config.ensemble_scheduling.step):
        config = models[step.model_name].config
        here = (_STEPS, "step", index)
        inputs = {tensor.name: tensor for tensor in config.input}
        outputs = {tensor.name for tensor in config.output}
        for name in sorted(set(step.input_map) - set(inputs)):
            yield model.finding(
                (*here, "input_map"),
                f"'{step.model_name}' has no input '{name}'",
                f"it has {', '.join(inputs)}",
            )
        for name in sorted(set(step.output_map) - outputs):
            yield model.finding(
                (*here, "output_map"),
                f"'{step.model_name}' has no output '{name}'",
                f"it has {', '.join(sorted(outputs))}",
            )
        for name, tensor in inputs.items():
            if not tensor.optional and name not in step.input_map:
                yield model.finding(
                    here, f"input '{name}' of '{step.model_name}' is not mapped", "add an input_map"
                )
        batch, limit = model.config.max_batch_size, config.max_batch_size
        if batch and limit and batch > limit:
            yield model.finding(
                ("max_batch_size",),
                f"{batch} is more than the {limit} of the step '{step.model_name}'",
            )


def _types(model: ModelFolder, models: Models) -> Iterator[Finding]:
    """All who write or read one tensor agree on its type and shape."""
    known: dict[str, _Port] = {}
    for tensor in (*model.config.input, *model.config.output):
        known.setdefault(tensor.name, _Port(model.name, tensor, model.config.max_batch_size > 0))
    for index, step in enumerate(model.config.ensemble_scheduling.step):
        config = models[step.model_name].config
        for side in ("input", "output"):
            declared: dict[str, Tensor] = {each.name: each for each in getattr(config, side)}
            for inner, outer in sorted(getattr(step, f"{side}_map").items()):
                if inner not in declared:
                    continue
                port = _Port(step.model_name, declared[inner], config.max_batch_size > 0)
                if problem := _mismatch(known.setdefault(outer, port), port):
                    path = (_STEPS, "step", index, f"{side}_map")
                    yield model.finding(path, f"'{outer}': {problem}")


def _mismatch(one: _Port, other: _Port) -> str | None:
    if one.tensor.data_type != other.tensor.data_type:
        return f"{_typed(one)}, {_typed(other)}"
    if not _compatible(one, other):
        return f"{_shaped(one)}, {_shaped(other)}"
    return None


def _compatible(one: _Port, other: _Port) -> bool:
    """Equal lengths where neither is -1. A model without batches may stand in a batched ensemble:
    then its first dimension is the batch, or the rows come to it without one."""
    dims, others = list(one.tensor.dims), list(other.tensor.dims)
    if one.batched == other.batched:
        return _fits(dims, others)
    batched, plain = (dims, others) if one.batched else (others, dims)
    return _fits([-1, *batched], plain) or _fits(batched, plain)


def _fits(dims: list[int], others: list[int]) -> bool:
    return len(dims) == len(others) and all(
        size in {-1, other} or other == -1 for size, other in zip(dims, others, strict=True)
    )


def _flow(model: ModelFolder) -> Iterator[Finding]:
    """Each tensor is written once and read, and everything can be computed in some order."""
    writers: dict[str, str] = {tensor.name: "the request" for tensor in model.config.input}
    read = {tensor.name for tensor in model.config.output}
    steps = model.config.ensemble_scheduling.step
    for index, step in enumerate(steps):
        read |= set(step.input_map.values())
        for outer in sorted(step.output_map.values()):
            if outer in writers:
                yield model.finding(
                    (_STEPS, "step", index, "output_map"),
                    f"'{outer}' is written already by {writers[outer]}",
                )
            writers[outer] = f"'{step.model_name}'"
    for index, tensor in enumerate(model.config.input):
        if tensor.name not in read:
            yield model.finding(("input", index), f"'{tensor.name}' is used by no step")
    for index, output in enumerate(model.config.output):
        if output.name not in writers:
            yield model.finding(("output", index), f"'{output.name}' is written by no step")
    for index, step in enumerate(steps):
        for outer in sorted(set(step.input_map.values()) - set(writers)):
            yield model.finding(
                (_STEPS, "step", index, "input_map"), f"'{outer}' is written by no step"
            )


def _streams(model: ModelFolder, models: Models) -> Iterator[Finding]:
    """No step and no reply joins tensors that depend on different decoupled steps."""
    origins: dict[str, frozenset[int]] = {tensor.name: frozenset() for tensor in model.config.input}
    waiting = dict(enumerate(model.config.ensemble_scheduling.step))
    while waiting:
        ready = [
            index
            for index, step in waiting.items()
            if all(outer in origins for outer in step.input_map.values())
        ]
        if not ready:
            first = min(waiting)
            yield model.finding((_STEPS, "step", first), "waits for its own output")
            return
        for index in ready:
            step = waiting.pop(index)
            found = {origins[outer] for outer in step.input_map.values()}
            if len(found) > 1:
                yield model.finding(
                    (_STEPS, "step", index),
                    f"'{step.model_name}' joins a stream with tensors that are not part of it",
                    "let the decoupled step be the last that needs the others' tensors",
                )
            own = frozenset({index}) if models[step.model_name].is_decoupled else frozenset()
            for outer in step.output_map.values():
                origins[outer] = frozenset().union(own, *found)
    yield from _replies(model, models, origins)


def _replies(
    model: ModelFolder, models: Models, origins: Mapping[str, frozenset[int]]
) -> Iterator[Finding]:
    streams = {origins[output.name] for output in model.config.output if output.name in origins}
    if len(streams) > 1:
        yield model.finding(("output",), "outputs come from different streams")
    steps = model.config.ensemble_scheduling.step
    decoupled = [step.model_name for step in steps if models[step.model_name].is_decoupled]
    if decoupled and not model.is_decoupled:
        yield model.finding(
            (),
            f"is not decoupled, but its step '{decoupled[0]}' is",
            "add model_transaction_policy { decoupled: true }",
        )


def _typed(port: _Port) -> str:
    kind = DataType.Name(port.tensor.data_type).removeprefix("TYPE_")
    return f"'{port.owner}' has {kind} '{port.tensor.name}'"


def _shaped(port: _Port) -> str:
    batch = " with a batch" if port.batched else ""
    return f"'{port.owner}' has '{port.tensor.name}' of {list(port.tensor.dims)}{batch}"
