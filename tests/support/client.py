"""A plain gRPC client of Triton for tests: one stream per client, tensors as Python values."""

import json
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

_TYPES = {"BYTES": np.object_, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32}


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a stream, and when it came (`time.monotonic`)."""

    arrays: dict[str, Any]
    final: bool
    at_s: float

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.arrays.get("event", [])]


class StreamError(Exception):
    """What the server answered instead."""


class Client:
    """A channel and one bidirectional stream on it, both closed when the `with` block ends."""

    def __init__(self, address: str, timeout_s: float = 60) -> None:
        self._client = triton.InferenceServerClient(address)
        self._queue: queue.Queue[Response | Exception] = queue.Queue()
        self._timeout_s = timeout_s
        self._open = 0
        self._client.start_stream(self._take)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancels only what is not answered: a cancel at the very end can keep a model loaded."""
        self._client.stop_stream(cancel_requests=self._open > 0)
        self._client.close()

    def infer(self, model: str, **tensors: Any) -> dict[str, np.ndarray]:
        """A unary request; a list of lists is batched."""
        result = self._client.infer(model, _inputs(tensors), client_timeout=self._timeout_s)
        return {
            output.name: result.as_numpy(output.name) for output in result.get_response().outputs
        }

    def send(self, model: str, request_id: str = "", **tensors: Any) -> None:
        """A request on the stream; `dict` values are sent as JSON."""
        self._open += 1
        self._client.async_stream_infer(
            model, _inputs(tensors), request_id=request_id, enable_empty_final_response=True
        )

    def next(self) -> Response:
        """The next response. Raises StreamError, queue.Empty after the timeout."""
        found = self._queue.get(timeout=self._timeout_s)
        if isinstance(found, Exception):
            raise StreamError(str(found)) from found
        return found

    def responses(self) -> Iterator[Response]:
        """Up to and with the final one."""
        final = False
        while not final:
            response = self.next()
            final = response.final
            yield response

    def events(self, model: str, request_id: str = "", **tensors: Any) -> list[dict[str, Any]]:
        """All events of one request."""
        self.send(model, request_id, **tensors)
        return [event for response in self.responses() for event in response.events]

    def _take(self, result: Any, error: Any) -> None:
        if error is not None:
            self._open -= 1
            self._queue.put(error)
            return
        response = result.get_response()
        arrays = {output.name: result.as_numpy(output.name).tolist() for output in response.outputs}
        final = response.parameters["triton_final_response"].bool_param
        self._open -= final
        self._queue.put(Response(arrays, final, time.monotonic()))


def text_of(events: list[dict[str, Any]], index: int = 0) -> str:
    return "".join(event["text"] for event in events if event["index"] == index)


def _inputs(tensors: dict[str, Any]) -> list[Any]:
    inputs = []
    for name, value in tensors.items():
        array = _array(value)
        kind = {"O": "BYTES", "b": "BOOL"}.get(array.dtype.kind) or triton_type(array)
        tensor = triton.InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


def triton_type(array: np.ndarray) -> str:
    return next(name for name, kind in _TYPES.items() if array.dtype == kind)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, dict):
        value = json.dumps(value)
    values = value if isinstance(value, list) else [value]
    first = np.array(values, dtype=object).reshape(-1)[0]
    if isinstance(first, str):
        encoded = np.array(values, dtype=np.object_)
        return np.vectorize(str.encode, otypes=[np.object_])(encoded)
    if isinstance(first, bool):
        return np.array(values, dtype=bool)
    return np.array(values, dtype=np.float32 if isinstance(first, float) else np.int32)


def request_of(model: str, tensors: dict[str, Any]) -> service_pb2.ModelInferRequest:
    """A raw request, for servers on a unix socket that tritonclient cannot reach."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for tensor in _inputs(tensors):
        shape = tensor.shape()
        request.inputs.add(name=tensor.name(), datatype=tensor.datatype(), shape=shape)
        request.raw_input_contents.append(tensor._get_content())
    return request


def tensors_of(answer: service_pb2.ModelInferResponse) -> dict[str, np.ndarray]:
    """The tensors of a raw answer."""
    result = triton.InferResult(answer)
    return {output.name: result.as_numpy(output.name) for output in answer.outputs}
