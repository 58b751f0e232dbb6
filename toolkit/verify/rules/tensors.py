"""Inputs and outputs: names, types, dims, reshapes."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import TypeAlias

from toolkit.model_config import TYPE_INVALID, ModelInput, ModelOutput
from toolkit.verify.backends import COMPLETING
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.python_source import defines
from toolkit.verify.rule import rule

Tensor: TypeAlias = ModelInput | ModelOutput
_WILD = -1
_TENSORRT = "tensorrt_plan"
_MENDING = {"tensorrt", "tensorflow", "dali"}


def tensors(model: Model) -> Iterator[tuple[str, Tensor]]:
    """All inputs and outputs with their path in the config."""
    for kind in ("input", "output"):
        for index, tensor in enumerate(getattr(model.config, kind)):
            yield f"{kind}[{index}]", tensor


@rule("tensor-name", "Tensor without a name", Effect.REFUSED)
def tensor_name(model: Model) -> Iterator[Hit]:
    """Every input and output needs a `name`."""
    for path, tensor in tensors(model):
        if not tensor.name:
            yield model.hit(f"{path}.name", "this tensor has no name", 'write name: "…"')


@rule("tensor-type", "Tensor without a type", Effect.REFUSED)
def tensor_type(model: Model) -> Iterator[Hit]:
    """Every input and output needs a `data_type` other than TYPE_INVALID.

    TensorRT, DALI, TensorFlow and a `model.py` with `auto_complete_config` may fill it in.
    """
    for path, tensor in tensors(model):
        if tensor.data_type == TYPE_INVALID and not _mends(model):
            yield model.hit(
                f"{path}.data_type",
                f"tensor '{tensor.name}' has no data_type",
                "write data_type: TYPE_FP32, or whatever the model takes",
            )


@rule("tensor-dims", "Dims that no tensor can have", Effect.REFUSED)
def tensor_dims(model: Model) -> Iterator[Hit]:
    """`dims` must be there, each at least 1, or -1 where the size varies.

    A scalar is written `dims: [ 1 ]`; with `max_batch_size` above 0 and one value for each row,
    `dims: [ 1 ]` with `reshape { shape: [ ] }` hands the backend a tensor without that dimension.
    TensorRT, DALI, TensorFlow and a `model.py` with `auto_complete_config` may fill them in.
    """
    for path, tensor in tensors(model):
        if not tensor.dims and not _mends(model):
            fix = "write dims: [ 1 ] for a single value, [ -1 ] for any number"
            yield model.hit(f"{path}.dims", f"tensor '{tensor.name}' has no dims", fix)
        for index, dim in enumerate(tensor.dims):
            if dim < 1 and dim != _WILD:
                yield model.hit(
                    f"{path}.dims[{index}]",
                    f"tensor '{tensor.name}' has a dimension of {dim}",
                    "write -1 where the size varies, else a number of at least 1",
                )


@rule("tensor-twice", "Two tensors of one name", Effect.FAILS)
def tensor_twice(model: Model) -> Iterator[Hit]:
    """The server counts two inputs of one name as two, and no request can send both.

    Of two outputs of one name it keeps one.
    """
    for kind in ("input", "output"):
        seen: set[str] = set()
        for index, tensor in enumerate(getattr(model.config, kind)):
            if tensor.name and tensor.name in seen:
                yield model.hit(
                    f"{kind}[{index}].name",
                    f"there is another {kind} called '{tensor.name}'",
                    "give them different names, or remove one",
                    "{target} loads the model and keeps one of the two" * (kind == "output"),
                )
            seen.add(tensor.name)


@rule("tensor-reshape", "Reshape to another number of elements", Effect.REFUSED)
def tensor_reshape(model: Model) -> Iterator[Hit]:
    """`reshape` must hold as many elements as `dims`, also between its variable dimensions.

    An empty shape is for a batching model only, with dims of one element.
    """
    for path, tensor in tensors(model):
        if tensor.HasField("reshape") and tensor.dims:
            message = _reshape_fault(tensor.dims, tensor.reshape.shape, model.config.max_batch_size)
            if message:
                yield model.hit(
                    f"{path}.reshape.shape",
                    f"tensor '{tensor.name}': {message}",
                    "make both hold the same number of elements",
                )


def _reshape_fault(dims: Sequence[int], shape: Sequence[int], batch: int) -> str | None:
    if not shape and not batch:
        return "an empty reshape needs max_batch_size above 0"
    if any(dim < 1 and dim != _WILD for dim in shape):
        return "a reshape's dimensions are at least 1, or -1"
    if _runs(dims) != _runs(shape):
        return f"dims {list(dims)} cannot become {list(shape)}"
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


@rule("tensor-format", "A kind of tensor this backend does not take", Effect.REFUSED)
def tensor_format(model: Model) -> Iterator[Hit]:
    """FORMAT_NHWC and FORMAT_NCHW need three dims; shape and non-linear tensors need TensorRT."""
    tensorrt = model.served.platform == _TENSORRT or model.served.backend == "tensorrt"
    for path, tensor in tensors(model):
        layout = tensor.format if isinstance(tensor, ModelInput) else ModelInput.FORMAT_NONE
        if layout != ModelInput.FORMAT_NONE and len(tensor.dims) != 3:
            kind = ModelInput.Format.Name(layout)
            yield model.hit(
                f"{path}.format",
                f"{kind} needs 3 dims, '{tensor.name}' has {len(tensor.dims)}",
                "remove the format, or write the three dims without the batch dimension",
            )
        for field in ("is_shape_tensor", "is_non_linear_format_io"):
            if getattr(tensor, field) and not tensorrt:
                text = f"{field} is for TensorRT, this model runs on '{model.served.backend}'"
                yield model.hit(f"{path}.{field}", text, "remove the line")


@rule("no-tensors", "No inputs or no outputs", Effect.RISK)
def no_tensors(model: Model) -> Iterator[Hit]:
    """Nothing declares what the model takes or gives, and its backend does not fill that in.

    The Python backend fills it in when `model.py` has `auto_complete_config`, ONNX Runtime,
    TensorRT, TensorFlow and OpenVINO read it from the weights. Otherwise no request fits: every
    input is refused as unexpected, every output as unknown.
    """
    config = model.config
    if model.is_ensemble or model.text is None or (config.input and config.output):
        return
    if _completes(model):
        return
    missing = [kind for kind in ("input", "output") if not getattr(model.config, kind)]
    if len(missing) == 2 or "output" in missing or model.served.backend == "python":
        yield model.hit(
            missing[0],
            f"model '{model.name}' declares no {' and no '.join(missing)}",
            f'write {missing[0]} {{ name: "…" data_type: … dims: [ … ] }}',
        )


def _mends(model: Model) -> bool:
    """Whether the backend may complete a tensor that the config declares in part."""
    backend = model.served.backend
    return backend in _MENDING or (backend == "python" and _completes(model))


def _completes(model: Model) -> bool:
    backend = model.served.backend
    if backend != "python":
        return backend in COMPLETING or backend not in model.target.backends or backend == "pytorch"
    sources = [folder / model.served.filename for folder in model.served_versions.values()]
    return not sources or any(defines(source, "auto_complete_config") for source in sources)


@rule("label-file", "File of labels missing", Effect.REFUSED)
def label_file(model: Model) -> Iterator[Hit]:
    """`label_filename` is read from the model's folder (not the version's) while it loads."""
    for index, output in enumerate(model.config.output):
        if output.label_filename and not (model.folder / output.label_filename).is_file():
            yield model.hit(
                f"output[{index}].label_filename",
                f"there is no file {model.name}/{output.label_filename}",
                "put the file beside config.pbtxt, or remove the line",
            )


RULES = (
    tensor_name, tensor_type, tensor_dims, tensor_twice, tensor_reshape, tensor_format, no_tensors,
    label_file,
)  # fmt: skip
