"""ONNX Runtime models: the config compared with the inputs and outputs of the file."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from toolkit.model_config import DataType, ModelConfig, ModelInput, ModelOutput
from toolkit.names import close_matches
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.onnx_file import (
    OnnxGraph,
    OnnxTensor,
    UnreadableOnnx,
    infer_outputs,
    read_onnx,
)
from toolkit.verifier.rule import rule
from toolkit.verifier.rules.tensors import Tensor
from toolkit.verifier.rules.versions import is_pointer


def _graphs(model: Model) -> Iterator[tuple[Path, OnnxGraph]]:
    for path in _files(model):
        try:
            yield path, read_onnx(path)
        except UnreadableOnnx:
            continue  # `onnx-file` reports this


def _files(model: Model) -> Iterator[Path]:
    for folder in model.served_versions.values():
        path = folder / _filename(model, folder)
        # Triton also takes a folder with external data beside model.onnx
        if path.is_dir():
            path = path / "model.onnx"
        if path.is_file() and not is_pointer(path):
            yield path


def _filename(model: Model, folder: Path) -> str:
    """The file that defines the tensors; a name that does not exist if there is none.

    The toolkit's `encoder` passes its tensors to the graph unchanged, so its config is compared as
    well if onnx is installed.
    """
    if model.served.backend == "onnxruntime":
        return model.served.filename
    # only with onnx: verifying our own repository must not demand an extra
    if (folder / "python_backends" / "encoder").is_dir() and find_spec("onnx"):
        parameters = model.config.parameters
        return parameters["model"].string_value if "model" in parameters else "model.onnx"
    return ".none"


@rule("onnx-file", "Invalid ONNX file", Effect.REFUSED)
def onnx_file(model: Model) -> Iterator[ModelFinding]:
    """The model cannot be read, or a file with its external data does not exist."""
    for path in _files(model):
        try:
            graph = read_onnx(path)
        except UnreadableOnnx as error:
            text = f"{path.name} is not a valid ONNX model: {error}"
            yield model.file_finding(path, text, "export the model again")
            continue
        for name in graph.missing:
            text = f"{path.name} refers to the weights file '{name}', which does not exist"
            yield model.file_finding(path, text, f"put {name} next to {path.name}")


@rule("onnx-name", "Tensor names that differ from the ONNX file", Effect.REFUSED)
def onnx_name(model: Model) -> Iterator[ModelFinding]:
    """The config must declare all inputs of the file, and only tensors that the file has."""
    fed = set(_fed(model.config))
    for path, graph in _graphs(model):
        for kind, real in (("input", graph.inputs), ("output", graph.outputs)):
            declared = [each.name for each in getattr(model.config, kind)]
            for index, name in enumerate(declared):
                if name and name not in real and not (kind == "input" and name in graph.defaults):
                    near = close_matches(name, list(real), 1, 0.5)
                    yield model.finding(
                        f"{kind}[{index}].name",
                        f"{path.name} has no {kind} '{name}'; it has {', '.join(real)}",
                        f"did you mean '{near[0]}'?" if near else f"use one of {', '.join(real)}",
                    )
            # inputs that the server fills are not declared
            absent = [name for name in real if name not in declared and name not in fed]
            if kind == "input" and declared and absent:
                text = f"{path.name} also needs the input {', '.join(map(repr, absent))}"
                yield model.finding("input", text, "declare this input")


def _fed(config: ModelConfig) -> Iterator[str]:
    """Inputs that the server fills: controls, states, batch inputs."""
    batching = config.sequence_batching
    yield from (each.name for each in batching.control_input)
    yield from (each.input_name for each in batching.state)
    for each in config.batch_input:
        yield from each.target_name


@rule("onnx-optional", "Optional input that the ONNX file requires", Effect.REFUSED)
def onnx_optional(model: Model) -> Iterator[ModelFinding]:
    """An input can be optional only if the file has a default for it, an initializer.

    `optional` cannot be combined with `max_batch_size` above 0 or `allow_ragged_batch`.
    """
    config = model.config
    for path, graph in _graphs(model) if model.served.backend == "onnxruntime" else ():
        for index, tensor in enumerate(config.input):
            place, name = f"input[{index}].optional", tensor.name
            if tensor.optional and (config.max_batch_size or tensor.allow_ragged_batch):
                text = f"input '{name}' is optional, but the model batches requests"
                yield model.finding(place, text, "remove the line, or write max_batch_size: 0")
            elif tensor.optional and name in graph.inputs:
                text = f"input '{name}' is optional, but {path.name} has no default for it"
                yield model.finding(place, text, "remove the line")
            elif not tensor.optional and name in graph.defaults:
                text = f"input '{name}' is required, but {path.name} has a default for it"
                yield model.finding(place, text, "write optional: true, or remove the input")


@rule("onnx-type", "Types that differ from the ONNX file", Effect.REFUSED)
def onnx_type(model: Model) -> Iterator[ModelFinding]:
    """Config and file must agree on each type. INT32 is not INT64, and FP16 is not FP32."""
    for path, place, tensor, real in _both(model):
        declared = DataType.Name(tensor.data_type)
        if declared not in (real.data_type, "TYPE_INVALID"):
            text = (
                f"'{tensor.name}' is {real.data_type} in {path.name}, but {declared} in the config"
            )
            yield model.finding(f"{place}.data_type", text, f"write data_type: {real.data_type}")


@rule("onnx-shape", "Shapes that differ from the ONNX file", Effect.REFUSED)
def onnx_shape(model: Model) -> Iterator[ModelFinding]:
    """If `max_batch_size` is above 0, the first dimension in the file is the batch.

    `dims` does not include it. It must be variable in the file, even if the config leaves inputs or
    outputs to the file. The other dims must match the file. For a variable dimension an input may
    set any size, and an output must set -1. For a tensor without dimensions write `dims: [ 1 ]`. A
    ragged input must have one variable dimension in the file.
    """
    yield from _unbatched(model)
    batch, native = model.config.max_batch_size, model.served.backend == "onnxruntime"
    scattered = {name for each in model.config.batch_output for name in each.target_name}
    for path, place, tensor, real in _both(model):
        # scattered outputs have a shape per request, not per batch
        if real.shape is None or not tensor.dims or tensor.name in scattered:
            continue
        dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        shape = list(real.shape)
        expected = shape[1:] if batch > 0 else shape
        text = f"'{tensor.name}' is {shape} in {path.name}"
        if isinstance(tensor, ModelInput) and tensor.allow_ragged_batch and native:
            if shape != [-1]:
                fix = "remove allow_ragged_batch, or export the model with one variable dimension"
                yield model.finding(
                    f"{place}.allow_ragged_batch", f"{text}; a ragged input must be [-1]", fix
                )
        # Triton has no tensors of rank 0
        elif not shape:
            if set(dims) != {1}:
                yield model.finding(f"{place}.dims", f"{text}, a single value", "write dims: [ 1 ]")
        elif batch > 0 and shape[0] != -1:
            fix = "write max_batch_size: 0 and the whole shape, or export with a variable batch"
            yield model.finding(f"{place}.dims", f"{text} and has no batch dimension", fix)
        elif not _fits(dims, expected):
            text += f", but {dims} in the config"
            if batch > 0 and len(dims) == len(shape):
                text += "; dims do not include the batch dimension"
            yield model.finding(f"{place}.dims", text, f"write dims: {expected}")
        elif (
            isinstance(tensor, ModelOutput)
            and dims != expected
            and not _inferred(model, path, tensor)
        ):
            text += f", but {dims} in the config; a variable output dimension must be -1"
            yield model.finding(f"{place}.dims", text, f"write dims: {expected}")


def _unbatched(model: Model) -> Iterator[ModelFinding]:
    """Finds configs without tensors whose `max_batch_size` the file does not support."""
    config = model.config
    if not config.max_batch_size or (config.input and config.output):
        return
    for path, graph in _graphs(model) if model.served.backend == "onnxruntime" else ():
        for name, real in (graph.inputs | graph.outputs).items():
            # a fixed first dimension cannot be a batch of any size
            if real.shape is not None and real.shape[:1] != (-1,):
                text = f"'{name}' is {list(real.shape)} in {path.name} and has no batch dimension"
                fix = "write max_batch_size: 0, or export with a variable batch"
                yield model.finding("max_batch_size", text, fix)


def _inferred(model: Model, path: Path, tensor: ModelOutput) -> bool:
    """Whether shape inference of the runtime gives the sizes in the config."""
    if model.served.backend != "onnxruntime":
        return True
    dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
    inferred = infer_outputs(path)[tensor.name].shape or ()
    return list(inferred)[-len(dims) :] == dims


def _both(model: Model) -> Iterator[tuple[Path, str, Tensor, OnnxTensor]]:
    for path, graph in _graphs(model):
        for kind, real in (("input", graph.inputs | graph.defaults), ("output", graph.outputs)):
            for index, tensor in enumerate(getattr(model.config, kind)):
                if tensor.name in real:
                    yield path, f"{kind}[{index}]", tensor, real[tensor.name]


def _fits(dims: Sequence[int], real: Sequence[int]) -> bool:
    pairs = zip(dims, real, strict=False)
    return len(dims) == len(real) and all(r in (-1, d) for d, r in pairs)


RULES = (onnx_file, onnx_name, onnx_optional, onnx_type, onnx_shape)
