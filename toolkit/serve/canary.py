"""Sends one real request to one version of a model, and measures the answer.

It knows the inputs of the toolkit's kinds. Any other model gets zeros of its declared shapes, or a
request that the user wrote. The supervisor's probes cost less and only call one step.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from toolkit.contract import INTERFACES
from toolkit.errors import ServeError
from toolkit.model_config import DataType, ModelConfig
from toolkit.serve.models import ServedModel

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_SIZES = {"FP16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class Answer:
    """`problem` is the error text of Triton or the model; None if the request succeeded."""

    model: str
    version: int
    latency_ms: float
    responses: int
    outputs: dict[str, str]
    problem: str | None
    text: str | None = None
    """What a language model generated."""


def ask(
    model: ServedModel,
    version: int,
    api: service_pb2_grpc.GRPCInferenceServiceStub,
    request: service_pb2.ModelInferRequest,
    timeout_s: float,
) -> Answer:
    """Sends the request to that version and reads the whole answer."""
    sent = service_pb2.ModelInferRequest()
    # a copy: the same request is sent many times
    sent.CopyFrom(request)
    # an id of its own: a cancel of the same id would end it
    sent.model_name, sent.model_version, sent.id = model.name, str(version), f"canary-{uuid4().hex}"
    started = time.monotonic()
    responses, problem = 0, None
    outputs: dict[str, str] = {}
    events: list[dict[str, Any]] = []
    try:
        stream: Iterator[service_pb2.ModelStreamInferResponse]
        # a stream for every model: Triton refuses unary calls for decoupled ones
        stream = api.ModelStreamInfer(iter([sent]), timeout=timeout_s)
        for response in stream:
            # the first error is the cause; later ones follow from it
            problem = problem or response.error_message or None
            responses += 1
            outputs |= {
                tensor.name: f"{tensor.datatype}{list(tensor.shape)}"
                for tensor in response.infer_response.outputs
            }
            events += _events(response.infer_response)
    except grpc.RpcError as error:
        problem = error.details() or error.code().name
    latency_ms = (time.monotonic() - started) * 1000
    if problem is None and not responses:
        problem = "the stream ended without a response"
    interface, said = INTERFACES.get(model.kind), None
    if interface is not None and interface.answer == "text":
        said = "".join(str(event.get("text") or "") for event in events)
        if any(event.get("finish_reason") == "abort" for event in events):
            problem = problem or "the model aborted the request"
    return Answer(model.name, version, latency_ms, responses, outputs, problem, said)


def _events(response: service_pb2.ModelInferResponse) -> Iterator[dict[str, Any]]:
    """The events of a language model; nothing for other outputs."""
    contents = dict(
        zip(
            (tensor.name for tensor in response.outputs), response.raw_output_contents, strict=False
        )
    )
    raw, at = contents.get("event", b""), 0
    while at + 4 <= len(raw):  # each element of a BYTES tensor begins with its length
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        with suppress(ValueError):
            if isinstance(event := json.loads(raw[at + 4 : end]), dict):
                yield event
        at = end


def request_for(model: ServedModel) -> service_pb2.ModelInferRequest:
    """A small request that goes through all steps of the model. Raises ServeError if no request can
    be made for its inputs."""
    if interface := INTERFACES.get(model.kind):
        batched = model.config.max_batch_size > 0
        values = {name: (kind, [value]) for name, (kind, value) in interface.request.items()}
        return _request(values, batched=batched)
    return _zeros(model.config)


def read_request(text: str) -> service_pb2.ModelInferRequest:
    """A user's request, in the format of Triton's HTTP API: `{"inputs": [{"name", "shape", …}]}`.

    Raises ServeError if it is not valid.
    """
    try:
        body = json.loads(text)
        request = service_pb2.ModelInferRequest()
        for tensor in body["inputs"]:
            added = request.inputs.add(
                name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"]
            )
            _fill(added, tensor["datatype"], _flat(tensor["data"]))
    except KeyError as error:
        raise ServeError(
            f"the request has no {error}",
            hint='{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [0.5]}]}',
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ServeError(f"the request cannot be read: {error}") from error
    return request


def _request(
    values: Mapping[str, tuple[str, list[Any]]], *, batched: bool
) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest()
    for name, (kind, data) in values.items():
        shape = [1, len(data)] if batched else [len(data)]
        _fill(request.inputs.add(name=name, datatype=kind, shape=shape), kind, data)
    return request


def _zeros(config: ModelConfig) -> service_pb2.ModelInferRequest:
    """Zeros and empty texts for every required input; a variable dimension is 1."""
    request = service_pb2.ModelInferRequest()
    for tensor in config.input:
        if tensor.optional:
            continue
        kind = DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
        shape = [1] if config.max_batch_size > 0 else []
        # -1 becomes 1
        shape += [max(1, size) for size in tensor.dims]
        count = math.prod(shape)
        # InferTensorContents of the KServe protocol has no field for 16-bit floats
        if kind in _SIZES:
            raise ServeError(
                f"{config.name} has inputs of {kind}; write its request yourself and pass it with"
                " --request",
                hint="--request FILE",
            )
        zero = b"" if kind == "BYTES" else 0
        _fill(
            request.inputs.add(name=tensor.name, datatype=kind, shape=shape), kind, [zero] * count
        )
    return request


def _fill(tensor: Any, kind: str, data: list[Any]) -> None:
    if kind not in _CONTENTS:
        raise ServeError(f"{tensor.name}: unknown type '{kind}'", hint=", ".join(_CONTENTS))
    if kind == "BYTES":
        data = [each.encode() if isinstance(each, str) else each for each in data]
    if kind == "BOOL":
        data = [bool(each) for each in data]
    getattr(tensor.contents, _CONTENTS[kind]).extend(data)


def _flat(data: Any) -> list[Any]:
    return [each for part in data for each in _flat(part)] if isinstance(data, list) else [data]
