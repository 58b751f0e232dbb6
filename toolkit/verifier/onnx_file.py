"""Reads inputs and outputs of an ONNX file, without its weights.

Only this module of `verify` knows onnx. A shape has -1 for each named or unknown dimension.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from toolkit.errors import MissingExtra

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """`data_type` is Triton's name, such as TYPE_FP32; `shape` is None if the rank is unknown."""

    data_type: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """Tensors by name, in the order of the file.

    `defaults` are inputs with an initializer, `missing` files of external data that do not exist.
    """

    inputs: dict[str, OnnxTensor]
    outputs: dict[str, OnnxTensor]
    defaults: dict[str, OnnxTensor]
    missing: tuple[str, ...] = ()


class UnreadableOnnx(ValueError):
    """The file is not a valid ONNX model."""


def read_onnx(path: Path) -> OnnxGraph:
    """Reads the graph of `path`. Raises UnreadableOnnx, or MissingExtra without onnx."""
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)  # several rules read the same file, which may be large
def _read(path: Path, _modified: int, _size: int) -> OnnxGraph:
    messages = _messages()
    if messages is None:
        raise MissingExtra("weights", f"comparing a config with {path.name}")
    try:
        model = messages.ModelProto.FromString(path.read_bytes())
    except (DecodeError, ValueError) as error:
        raise UnreadableOnnx(str(error)) from error
    # protobuf reads many files that are not ONNX without an error
    if not model.graph.output:
        raise UnreadableOnnx("it has no graph")
    constants = {each.name for each in model.graph.initializer}
    return OnnxGraph(
        {each.name: _tensor(each) for each in model.graph.input if each.name not in constants},
        {each.name: _tensor(each) for each in model.graph.output},
        {each.name: _tensor(each) for each in model.graph.input if each.name in constants},
        _missing(model, path.parent),
    )


def _messages() -> ModuleType | None:
    """onnx's protobuf messages; None if it is not installed.

    The package itself is not imported: it imports numpy, and both take 0.25 s of CPU.
    """
    package = find_spec("onnx")
    if package is None or not package.submodule_search_locations:
        return None
    file = Path(package.submodule_search_locations[0]) / "onnx_ml_pb2.py"
    spec = spec_from_file_location("toolkit.verify._onnx_messages", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def infer_outputs(path: Path) -> dict[str, OnnxTensor]:
    """The outputs after shape inference, which ONNX Runtime also runs.

    If inference fails, as it does for graphs above 2 GB, the outputs are those of `read_onnx`.
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
"""onnx.TensorProto.DataType → Triton's name."""


def _tensor(info: "ValueInfoProto") -> OnnxTensor:
    tensor = info.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        # named dimensions have no value: any size
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
