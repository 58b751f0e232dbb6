"""ONNX Runtime models: the config against the file's real inputs and outputs."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from toolkit.model_config import DataType, ModelConfig, ModelInput, ModelOutput
from toolkit.names import close_matches
from toolkit.verify.model import Hit, Model
from toolkit.verify.onnx_file import (
    OnnxGraph,
    OnnxTensor,
    UnreadableOnnx,
    infer_outputs,
    read_onnx,
)
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule
from toolkit.verify.rules.tensors import Tensor
from toolkit.verify.rules.versions import is_pointer


def _graphs(model: Model) -> Iterator[tuple[Path, OnnxGraph]]:
    for path in _files(model):
        try:
            yield path, read_onnx(path)
        except UnreadableOnnx:
            continue  # `onnx-file` says so


def _files(model: Model) -> Iterator[Path]:
    for folder in model.served_versions.values():
        path = folder / _filename(model, folder)
        if path.is_dir():
            path = path / "model.onnx"
        if path.is_file() and not is_pointer(path):
            yield path


def _filename(model: Model, folder: Path) -> str:
    """The file whose tensors are the config's; a name that nothing has when there is none.

    The toolkit's `encoder` hands its tensors to the graph as they are, so it is held to it too,
    where onnx is installed.
    """
    if model.served.backend == "onnxruntime":
        return model.served.filename
    if (folder / "python_backends" / "encoder").is_dir() and find_spec("onnx"):
        parameters = model.config.parameters
        return parameters["model"].string_value if "model" in parameters else "model.onnx"
    return ".none"


@rule("onnx-file", "File that is not ONNX", Effect.REFUSED)
def onnx_file(model: Model) -> Iterator[Hit]:
    """The weights cannot be read, or the files that they keep their data in are not there."""
    for path in _files(model):
        try:
            graph = read_onnx(path)
        except UnreadableOnnx as error:
            text = f"{path.name} is not an ONNX model: {error}"
            yield model.hit_file(path, text, "export it again")
            continue
        for name in graph.missing:
            text = f"{path.name} keeps weights in '{name}', which is not there"
            yield model.hit_file(path, text, f"put {name} beside {path.name}")


@rule("onnx-name", "Tensor that the ONNX file does not have", Effect.REFUSED)
def onnx_name(model: Model) -> Iterator[Hit]:
    """All inputs of the file must be declared, and nothing that it does not have."""
    fed = set(_fed(model.config))
    for path, graph in _graphs(model):
        for kind, real in (("input", graph.inputs), ("output", graph.outputs)):
            declared = [each.name for each in getattr(model.config, kind)]
            for index, name in enumerate(declared):
                if name and name not in real and not (kind == "input" and name in graph.defaults):
                    near = close_matches(name, list(real), 1, 0.5)
                    yield model.hit(
                        f"{kind}[{index}].name",
                        f"{path.name} has no {kind} '{name}', only {', '.join(real)}",
                        f"did you mean '{near[0]}'?" if near else f"use one of {', '.join(real)}",
                    )
            absent = [name for name in real if name not in declared and name not in fed]
            if kind == "input" and declared and absent:
                text = f"{path.name} also needs the input {', '.join(map(repr, absent))}"
                yield model.hit("input", text, "declare it")


def _fed(config: ModelConfig) -> Iterator[str]:
    """Inputs that the server fills by itself: controls, states, batch inputs."""
    batching = config.sequence_batching
    yield from (each.name for each in batching.control_input)
    yield from (each.input_name for each in batching.state)
    for each in config.batch_input:
        yield from each.target_name


@rule("onnx-optional", "Optional input that the ONNX file needs", Effect.REFUSED)
def onnx_optional(model: Model) -> Iterator[Hit]:
    """`optional: true` belongs to inputs that the file has a value for, an initializer.

    It goes neither with `max_batch_size` above 0 nor with `allow_ragged_batch`.
    """
    config = model.config
    for path, graph in _graphs(model) if model.served.backend == "onnxruntime" else ():
        for index, tensor in enumerate(config.input):
            place, name = f"input[{index}].optional", tensor.name
            if tensor.optional and (config.max_batch_size or tensor.allow_ragged_batch):
                text = f"input '{name}' is optional, and the model joins requests"
                yield model.hit(place, text, "remove the line, or write max_batch_size: 0")
            elif tensor.optional and name in graph.inputs:
                text = f"input '{name}' is optional, and {path.name} has no value for it"
                yield model.hit(place, text, "remove the line")
            elif not tensor.optional and name in graph.defaults:
                text = f"{path.name} has a value for the input '{name}'"
                yield model.hit(place, text, "write optional: true, or remove the input")


@rule("onnx-type", "Type that the ONNX file does not have", Effect.REFUSED)
def onnx_type(model: Model) -> Iterator[Hit]:
    """Config and file agree on every type: INT32 is not INT64, FP16 not FP32."""
    for path, place, tensor, real in _both(model):
        said = DataType.Name(tensor.data_type)
        if said not in (real.data_type, "TYPE_INVALID"):
            text = f"'{tensor.name}' is {real.data_type} in {path.name}, the config says {said}"
            yield model.hit(f"{place}.data_type", text, f"write data_type: {real.data_type}")


@rule("onnx-shape", "Shape that the ONNX file does not have", Effect.REFUSED)
def onnx_shape(model: Model) -> Iterator[Hit]:
    """With `max_batch_size` above 0 the file's first dimension is the batch and not in `dims`.

    It must be open in the file, also where the config leaves inputs or outputs to the file. The
    other dims are the file's; where the file is open, an input may have any size and an output must
    have -1. A tensor without dimensions has dims of 1, a ragged input has one open dimension in the
    file.
    """
    yield from _unbatched(model)
    batch, native = model.config.max_batch_size, model.served.backend == "onnxruntime"
    scattered = {name for each in model.config.batch_output for name in each.target_name}
    for path, place, tensor, real in _both(model):
        if real.shape is None or not tensor.dims or tensor.name in scattered:
            continue
        dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        shape = list(real.shape)
        wanted = shape[1:] if batch > 0 else shape
        text = f"'{tensor.name}' is {shape} in {path.name}"
        if isinstance(tensor, ModelInput) and tensor.allow_ragged_batch and native:
            if shape != [-1]:
                fix = "remove allow_ragged_batch, or export with one open dimension"
                yield model.hit(f"{place}.allow_ragged_batch", f"{text}, ragged needs [-1]", fix)
        elif not shape:
            if set(dims) != {1}:
                yield model.hit(f"{place}.dims", f"{text}, a single value", "write dims: [ 1 ]")
        elif batch > 0 and shape[0] != -1:
            fix = "write max_batch_size: 0 and the whole shape, or export with an open batch"
            yield model.hit(f"{place}.dims", f"{text}: no batch dimension", fix)
        elif not _fits(dims, wanted):
            text += f", the config says {dims}"
            if batch > 0 and len(dims) == len(shape):
                text += "; dims do not include the batch dimension"
            yield model.hit(f"{place}.dims", text, f"write dims: {wanted}")
        elif (
            isinstance(tensor, ModelOutput) and dims != wanted and not _settled(model, path, tensor)
        ):
            text += f", the config says {dims}: what is open in an output stays open"
            yield model.hit(f"{place}.dims", text, f"write dims: {wanted}")


def _unbatched(model: Model) -> Iterator[Hit]:
    """A config that is completed from the file and batches more than the file can."""
    config = model.config
    if not config.max_batch_size or (config.input and config.output):
        return
    for path, graph in _graphs(model) if model.served.backend == "onnxruntime" else ():
        for name, real in (graph.inputs | graph.outputs).items():
            if real.shape is not None and real.shape[:1] != (-1,):
                text = f"'{name}' is {list(real.shape)} in {path.name}: no batch dimension"
                fix = "write max_batch_size: 0, or export with an open batch"
                yield model.hit("max_batch_size", text, fix)


def _settled(model: Model, path: Path, tensor: ModelOutput) -> bool:
    """Whether the runtime itself finds the sizes that the file leaves open to be the config's."""
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
