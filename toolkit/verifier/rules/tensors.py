"""Inputs and outputs: names, types, dims, reshapes."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import TypeAlias

from toolkit.model_config import TYPE_INVALID, ModelInput, ModelOutput
from toolkit.verifier.backends import COMPLETING
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.python_source import defines
from toolkit.verifier.rule import rule

Tensor: TypeAlias = ModelInput | ModelOutput
_WILD = -1
_TENSORRT = "tensorrt_plan"
_COMPLETING_TENSORS = {"tensorrt", "tensorflow", "dali"}


def tensors(model: Model) -> Iterator[tuple[str, Tensor]]:
    """All inputs and outputs with their path in the config."""
    for kind in ("input", "output"):
        for index, tensor in enumerate(getattr(model.config, kind)):
            yield f"{kind}[{index}]", tensor


@rule("tensor-name", "Tensor without a name", Effect.REFUSED)
def tensor_name(model: Model) -> Iterator[ModelFinding]:
    """Every input and output needs a `name`."""
    for path, tensor in tensors(model):
        if not tensor.name:
            yield model.finding(f"{path}.name", "the tensor has no name", 'write name: "…"')


@rule("tensor-type", "Tensor without a type", Effect.REFUSED)
def tensor_type(model: Model) -> Iterator[ModelFinding]:
    """Every input and output needs a `data_type` other than TYPE_INVALID.

    TensorRT, DALI, TensorFlow and a `model.py` with `auto_complete_config` may set it.
    """
    for path, tensor in tensors(model):
        if tensor.data_type == TYPE_INVALID and not _may_complete(model):
            yield model.finding(
                f"{path}.data_type",
                f"tensor '{tensor.name}' has no data_type",
                "write data_type: TYPE_FP32, or the type that the model expects",
            )


@rule("tensor-dims", "Missing or invalid dims", Effect.REFUSED)
def tensor_dims(model: Model) -> Iterator[ModelFinding]:
    """`dims` is required; each must be at least 1, or -1 for a variable size.

    For a scalar write `dims: [ 1 ]`. With `max_batch_size` above 0 and one value for each row,
    `dims: [ 1 ]` with `reshape { shape: [ ] }` passes a tensor without that dimension to the
    backend. TensorRT, DALI, TensorFlow and a `model.py` with `auto_complete_config` may set dims.
    """
    for path, tensor in tensors(model):
        if not tensor.dims and not _may_complete(model):
            fix = "write dims: [ 1 ] for a single value, [ -1 ] for any number of values"
            yield model.finding(f"{path}.dims", f"tensor '{tensor.name}' has no dims", fix)
        for index, dim in enumerate(tensor.dims):
            if dim < 1 and dim != _WILD:
                yield model.finding(
                    f"{path}.dims[{index}]",
                    f"tensor '{tensor.name}' has a dimension of {dim}",
                    "write -1 for a variable size, else a number of at least 1",
                )


@rule("tensor-twice", "Duplicate tensor name", Effect.FAILS)
def tensor_twice(model: Model) -> Iterator[ModelFinding]:
    """The server expects two inputs if two have the same name, but a request cannot send both.

    Of two outputs with the same name it keeps one.
    """
    for kind in ("input", "output"):
        seen: set[str] = set()
        for index, tensor in enumerate(getattr(model.config, kind)):
            if tensor.name and tensor.name in seen:
                yield model.finding(
                    f"{kind}[{index}].name",
                    f"another {kind} is also named '{tensor.name}'",
                    "give them different names, or remove one",
                    "{target} loads the model and keeps one of the two" * (kind == "output"),
                )
            seen.add(tensor.name)


@rule("tensor-reshape", "Reshape with another number of elements", Effect.REFUSED)
def tensor_reshape(model: Model) -> Iterator[ModelFinding]:
    """`reshape` must have as many elements as `dims`, also between variable dimensions.

    An empty shape is valid only with `max_batch_size` above 0 and dims of one element.
    """
    for path, tensor in tensors(model):
        if tensor.HasField("reshape") and tensor.dims:
            text = _reshape_error(tensor.dims, tensor.reshape.shape, model.config.max_batch_size)
            if text:
                yield model.finding(
                    f"{path}.reshape.shape",
                    f"tensor '{tensor.name}': {text}",
                    "use the same number of elements in both",
                )


def _reshape_error(dims: Sequence[int], shape: Sequence[int], batch: int) -> str | None:
    if not shape and not batch:
        return "an empty reshape needs max_batch_size above 0"
    if any(dim < 1 and dim != _WILD for dim in shape):
        return "the dimensions of a reshape must be at least 1, or -1"
    # a variable dimension stands for itself: elements cannot move across it
    if _runs(dims) != _runs(shape):
        return f"dims {list(dims)} cannot be reshaped to {list(shape)}"
    return None


def _runs(dims: Sequence[int]) -> list[int]:
    """Numbers of elements between variable dimensions: [2, 4, -1, 6] and [8, -1, 6] agree."""
    runs = [1]
    for dim in dims:
        if dim == _WILD:
            runs.append(1)
        else:
            runs[-1] = prod((runs[-1], dim))
    return runs


@rule("tensor-format", "Tensor format that the backend does not support", Effect.REFUSED)
def tensor_format(model: Model) -> Iterator[ModelFinding]:
    """FORMAT_NHWC and FORMAT_NCHW need three dims. Shape and non-linear tensors need TensorRT."""
    tensorrt = model.served.platform == _TENSORRT or model.served.backend == "tensorrt"
    for path, tensor in tensors(model):
        layout = tensor.format if isinstance(tensor, ModelInput) else ModelInput.FORMAT_NONE
        if layout != ModelInput.FORMAT_NONE and len(tensor.dims) != 3:
            kind = ModelInput.Format.Name(layout)
            yield model.finding(
                f"{path}.format",
                f"{kind} needs 3 dims, but '{tensor.name}' has {len(tensor.dims)}",
                "remove the format, or write three dims without the batch dimension",
            )
        for field in ("is_shape_tensor", "is_non_linear_format_io"):
            if getattr(tensor, field) and not tensorrt:
                text = f"{field} needs TensorRT, but the backend is '{model.served.backend}'"
                yield model.finding(f"{path}.{field}", text, "remove the line")


@rule("no-tensors", "No inputs or no outputs", Effect.RISK)
def no_tensors(model: Model) -> Iterator[ModelFinding]:
    """The config does not declare inputs or outputs, and the backend does not add them.

    The Python backend adds them if `model.py` has `auto_complete_config`. ONNX Runtime, TensorRT,
    TensorFlow and OpenVINO read them from the weights. Otherwise every request fails: its inputs
    are refused as unexpected, and its outputs as unknown.
    """
    config = model.config
    if model.is_ensemble or model.text is None or (config.input and config.output):
        return
    if _completes(model):
        return
    missing = [kind for kind in ("input", "output") if not getattr(model.config, kind)]
    # a graph without inputs is valid: it returns constants
    if len(missing) == 2 or "output" in missing or model.served.backend == "python":
        yield model.finding(
            missing[0],
            f"model '{model.name}' does not declare any {' or '.join(missing)}",
            f'write {missing[0]} {{ name: "…" data_type: … dims: [ … ] }}',
        )


def _may_complete(model: Model) -> bool:
    """Whether the backend may complete a tensor that the config declares in part."""
    backend = model.served.backend
    return backend in _COMPLETING_TENSORS or (backend == "python" and _completes(model))


def _completes(model: Model) -> bool:
    backend = model.served.backend
    if backend != "python":
        return backend in COMPLETING or backend not in model.target.backends or backend == "pytorch"
    sources = [folder / model.served.filename for folder in model.served_versions.values()]
    return not sources or any(defines(source, "auto_complete_config") for source in sources)


@rule("label-file", "Label file not found", Effect.REFUSED)
def label_file(model: Model) -> Iterator[ModelFinding]:
    """The server reads `label_filename` from the folder of the model, not of the version."""
    for index, output in enumerate(model.config.output):
        if output.label_filename and not (model.folder / output.label_filename).is_file():
            yield model.finding(
                f"output[{index}].label_filename",
                f"the file {model.name}/{output.label_filename} does not exist",
                "put the file next to config.pbtxt, or remove the line",
            )


RULES = (
    tensor_name, tensor_type, tensor_dims, tensor_twice, tensor_reshape, tensor_format, no_tensors,
    label_file,
)  # fmt: skip
