"""Triton's tensors to and from bytes, as its protocol lays them out: little-endian, no padding.

Pure. Source: KServe's "Predict Protocol - Version 2" with Triton's binary tensor data extension.
"""

import struct
from collections.abc import Iterable

import orjson
from tritonclient.grpc import service_pb2

from frontend.errors import BackendFailed

_LENGTH = struct.Struct("<I")
_FORMATS = {
    "BOOL": "?", "INT32": "i", "INT64": "q", "UINT32": "I", "UINT64": "Q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip


def pack_texts(texts: Iterable[str]) -> bytes:
    """A BYTES tensor's content: each element behind its length in bytes, as uint32."""
    parts = []
    for text in texts:
        data = text.encode()
        parts.append(_LENGTH.pack(len(data)))
        parts.append(data)
    return b"".join(parts)


def unpack_bytes(raw: bytes) -> list[bytes]:
    """The elements of a BYTES tensor's content. Raises BackendFailed when it is cut short."""
    elements, position, end = [], 0, len(raw)
    while position < end:
        start = position + 4
        position = start + int.from_bytes(raw[position:start], "little")
        if position > end:
            raise BackendFailed("the model's answer ends too early")
        elements.append(raw[start:position])
    return elements


def add_texts(
    request: service_pb2.ModelInferRequest, name: str, texts: list[str], shape: list[int]
) -> None:
    """Adds a BYTES input."""
    request.inputs.add(name=name, datatype="BYTES", shape=shape)
    request.raw_input_contents.append(pack_texts(texts))


def add_files(request: service_pb2.ModelInferRequest, name: str, files: tuple[bytes, ...]) -> None:
    """Adds a BYTES input of shape [number of files]."""
    request.inputs.add(name=name, datatype="BYTES", shape=[len(files)])
    parts = [part for file in files for part in (_LENGTH.pack(len(file)), file)]
    request.raw_input_contents.append(b"".join(parts))


def add_json(request: service_pb2.ModelInferRequest, name: str, value: object) -> None:
    """Adds a BYTES input of shape [1] that holds `value` as JSON."""
    request.inputs.add(name=name, datatype="BYTES", shape=[1])
    data = orjson.dumps(value)
    request.raw_input_contents.append(_LENGTH.pack(len(data)) + data)


def add_numbers(
    request: service_pb2.ModelInferRequest,
    name: str,
    datatype: str,
    values: list[float] | list[int] | list[bool],
    shape: list[int],
) -> None:
    """Adds an input of numbers."""
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(struct.pack(f"<{len(values)}{_FORMATS[datatype]}", *values))


def output(response: service_pb2.ModelInferResponse, name: str) -> bytes:
    """An output's content. Raises BackendFailed when the response has no such output."""
    for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=False):
        if tensor.name == name:
            return bytes(raw)
    raise BackendFailed(f"the model's answer has no output '{name}'")
