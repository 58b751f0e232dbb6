"""What an ONNX file says about its inputs and outputs, without its weights.

The one place that imports onnx. Shapes hold -1 where a dimension has a name or is open.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import MissingExtra

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """`data_type` as Triton calls it, such as TYPE_FP32; `shape` None when the rank is open."""

    data_type: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """By name, in the file's order. `defaults` are inputs that the file has a value for; `missing`
    are files of external data that are not there."""

    inputs: dict[str, OnnxTensor]
    outputs: dict[str, OnnxTensor]
    defaults: dict[str, OnnxTensor]
    missing: tuple[str, ...] = ()


class UnreadableOnnx(ValueError):
    """The file is not ONNX."""


def read_onnx(path: Path) -> OnnxGraph:
    """Reads the graph of `path`. Raises UnreadableOnnx, and MissingExtra without the library."""
    found = path.stat()
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=32)  # several rules ask for the same file, which may be large
def _read(path: Path, _modified: int, _size: int) -> OnnxGraph:
    try:
        import onnx  # noqa: PLC0415
    except ImportError:
        raise MissingExtra("weights", f"comparing a config with {path.name}") from None
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise UnreadableOnnx(str(error)) from error
    if not model.graph.output:
        raise UnreadableOnnx("it holds no graph")
    constants = {each.name for each in model.graph.initializer}
    return OnnxGraph(
        {each.name: _tensor(each) for each in model.graph.input if each.name not in constants},
        {each.name: _tensor(each) for each in model.graph.output},
        {each.name: _tensor(each) for each in model.graph.input if each.name in constants},
        _missing(model, path.parent),
    )


def infer_outputs(path: Path) -> dict[str, OnnxTensor]:
    """The outputs with what shape inference, as ONNX Runtime runs it, finds out of open dimensions.

    The same as `read_onnx` says where inference fails, as it does on graphs beyond 2 GB.
    """
    import onnx  # noqa: PLC0415

    try:
        model = onnx.load(path, load_external_data=False)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (ValueError, RuntimeError):
        return read_onnx(path).outputs
    return {each.name: _tensor(each) for each in inferred.graph.output}


_TYPES = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64",
    8: "STRING", 9: "BOOL", 10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 16: "BF16",
}  # fmt: skip
"""onnx.TensorProto.DataType -> Triton's name."""


def _tensor(info: "ValueInfoProto") -> OnnxTensor:
    tensor = info.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.dim_value > 0 else -1 for d in tensor.shape.dim)
    return OnnxTensor(f"TYPE_{_TYPES.get(tensor.elem_type, 'INVALID')}", shape)


def _missing(model: "ModelProto", folder: Path) -> tuple[str, ...]:
    named = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return tuple(sorted(name for name in named if not (folder / name).exists()))
