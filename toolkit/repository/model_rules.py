"""What must hold for each model by itself, whatever it is joined with."""

import re
from collections.abc import Iterator

from google.protobuf.message import Message
from tritonclient.grpc.model_config_pb2 import DataType, ModelInstanceGroup

from toolkit.errors import Finding
from toolkit.repository.folder import ModelFolder
from toolkit.targets import Target

_UNFILLED = re.compile(r"(?<!\$)\$\{[^}\n]*\}")
_FORBIDDEN = ("instance_group", "optimization", "model_warmup", "dynamic_batching")


def check_model(model: ModelFolder, target: Target) -> Iterator[Finding]:
    """Findings in one model's folder and config."""
    yield from _identity(model)
    yield from _backend(model, target)
    yield from _versions(model)
    yield from _tensors(model)
    yield from _batching(model)
    yield from _placement(model, target)
    yield from _unknown(model, target)
    for line, text in enumerate(model.text.splitlines(), 1):
        for match in _UNFILLED.finditer(text):
            problem = f"{match.group()} was never filled in"
            yield Finding(model.shown, line, "", problem, "Triton takes it literally")


def _identity(model: ModelFolder) -> Iterator[Finding]:
    name = model.config.name
    if name and name != model.name:
        yield model.finding(
            ("name",),
            f"is '{name}', but the folder is '{model.name}'",
            "Triton refuses the model; make them equal",
        )


def _backend(model: ModelFolder, target: Target) -> Iterator[Finding]:
    config = model.config
    if model.is_ensemble:
        if config.backend:
            yield model.finding(("backend",), "stands in an ensemble", "remove it")
        for name in _FORBIDDEN:
            field = config.DESCRIPTOR.fields_by_name[name]
            is_set = getattr(config, name) if field.is_repeated else config.HasField(name)
            if is_set:
                yield model.finding((name,), "stands in an ensemble", "move it into a step")
        if not config.HasField("ensemble_scheduling"):
            yield model.finding(("platform",), "is an ensemble without ensemble_scheduling")
    elif not config.backend and not config.platform:
        yield model.finding((), "names no backend", f"one of {_listed(target.backends)}")
    elif config.backend and config.backend not in target.backends:
        yield model.finding(
            ("backend",),
            f"'{config.backend}' is not in {target.name} (Triton {target.triton})",
            f"it has {_listed(target.backends)}",
        )


def _versions(model: ModelFolder) -> Iterator[Finding]:
    versions = model.versions()
    if not versions:
        yield model.finding(
            (), "has no version folder", f"make {model.name}/1/ (git keeps it with a .gitkeep)"
        )
    if model.config.backend == "python":
        file = model.config.default_model_filename or "model.py"
        for version in versions:
            if not (version / file).exists():
                yield model.finding(
                    (),
                    f"{version.name}/{file} is missing",
                    "Triton gives no error, and the model never becomes ready",
                )


def _tensors(model: ModelFolder) -> Iterator[Finding]:
    for side in ("input", "output"):
        seen: set[str] = set()
        for index, tensor in enumerate(getattr(model.config, side)):
            here = (side, index)
            if not tensor.name:
                yield model.finding(here, "has no name")
            elif tensor.name in seen:
                yield model.finding((*here, "name"), f"'{tensor.name}' is there twice")
            seen.add(tensor.name)
            if tensor.data_type == DataType.TYPE_INVALID:
                yield model.finding(here, f"'{tensor.name}' has no data_type")
            yield from _dims(model, (*here, "dims"), list(tensor.dims))


def _dims(model: ModelFolder, path: tuple[str | int, ...], dims: list[int]) -> Iterator[Finding]:
    if not dims:
        yield model.finding(path, "is empty", "write [ 1 ] for one value, without the batch")
    if any(size == 0 or size < -1 for size in dims):
        yield model.finding(
            path, f"{dims} has a size that is neither positive nor -1", "-1 means any size"
        )


def _batching(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    if config.max_batch_size < 0:
        yield model.finding(("max_batch_size",), f"is {config.max_batch_size}", "0 or more")
    for index, size in enumerate(config.dynamic_batching.preferred_batch_size):
        if size > config.max_batch_size:
            yield model.finding(
                ("dynamic_batching", "preferred_batch_size", index),
                f"{size} is more than max_batch_size {config.max_batch_size}",
            )
    if config.response_cache.enable and model.is_decoupled:
        yield model.finding(
            ("response_cache",), "cannot be used by a decoupled model", "remove one of the two"
        )


def _placement(model: ModelFolder, target: Target) -> Iterator[Finding]:
    for index, group in enumerate(model.config.instance_group):
        if group.kind == ModelInstanceGroup.KIND_GPU and not target.gpu:
            yield model.finding(
                ("instance_group", index, "kind"),
                f"KIND_GPU cannot be had from {target.name}",
                "write KIND_CPU",
            )


def _unknown(model: ModelFolder, target: Target) -> Iterator[Finding]:
    for dotted in sorted(target.unknown_fields):
        path = tuple(dotted.split("."))
        if _is_set(model.config, path):
            yield model.finding(
                path,
                f"is not known to Triton {target.triton}",
                "it refuses the whole model; remove the field",
            )


def _is_set(message: Message, path: tuple[str, ...]) -> bool:
    field = message.DESCRIPTOR.fields_by_name[path[0]]
    value = getattr(message, path[0])
    if field.message_type is not None and not field.is_repeated:
        if not message.HasField(path[0]):
            return False
        return len(path) == 1 or _is_set(value, path[1:])
    return bool(value)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
