"""Stand-ins for Triton's Python backend, for unit tests outside a server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np


@dataclass
class FakeTensor:
    """`pb_utils.Tensor`."""

    tensor_name: str
    values: np.ndarray

    def name(self) -> str:
        return self.tensor_name

    def as_numpy(self) -> np.ndarray:
        return self.values


@dataclass
class FakeResponse:
    """`pb_utils.InferenceResponse`."""

    output_tensors: list[FakeTensor]
    error: Any = None

    def arrays(self) -> dict[str, np.ndarray]:
        return {tensor.name(): tensor.as_numpy() for tensor in self.output_tensors}


@dataclass
class FakeError:
    """`pb_utils.TritonError`."""

    message: str
    code: str = "INTERNAL"


class FakeStub:
    """`triton_python_backend_utils`."""

    Tensor = FakeTensor
    InferenceResponse = FakeResponse

    class TritonError(FakeError):
        INVALID_ARG = "INVALID_ARG"
        INTERNAL = "INTERNAL"
        UNAVAILABLE = "UNAVAILABLE"

    Logger = SimpleNamespace(log_info=print, log_warn=print, log_error=print)


@dataclass
class FakeSender:
    """Keeps what was sent."""

    sent: list[tuple[Any, int]] = field(default_factory=list)
    cancelled: bool = False

    def send(self, response: Any = None, flags: int = 0) -> None:
        self.sent.append((response, flags))

    def is_cancelled(self) -> bool:
        return self.cancelled


@dataclass
class FakeRequest:
    """`pb_utils.InferenceRequest`."""

    arrays: Mapping[str, np.ndarray]
    sender: FakeSender = field(default_factory=FakeSender)
    id: str = ""

    def request_id(self) -> str:
        return self.id

    def inputs(self) -> list[FakeTensor]:
        return [FakeTensor(name, values) for name, values in self.arrays.items()]

    def parameters(self) -> str:
        return "{}"

    def get_response_sender(self) -> FakeSender:
        return self.sender


def strings(*values: str) -> np.ndarray:
    """A STRING tensor's values."""
    return np.array([value.encode() for value in values], dtype=np.object_)
