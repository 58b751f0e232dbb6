"""The part of Triton's Python backend that the steps use, typed, imported only inside a server.

Tensors come in as numpy arrays by name; text is UTF-8 bytes. Nothing else in this package touches
`triton_python_backend_utils`, so tests can put any `Backend` in its place.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from python_backends.errors import InvalidInput, StepError, clip

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

PLACEMENT = "TRITON_TOOLKIT_PLACEMENT"
"""Set by `toolkit serve --device cuda`: a JSON object, model → `{"gpus": [0], "engine": {…}}`."""

FINAL = 1
"""TRITONSERVER_RESPONSE_COMPLETE_FINAL: no response follows this one."""


class Tensor(Protocol):
    """`pb_utils.Tensor`."""

    def name(self) -> str: ...
    def as_numpy(self) -> Array: ...


class Sender(Protocol):
    """Sends a decoupled step's responses to one request."""

    def send(self, response: object = None, flags: int = 0) -> None: ...
    def is_cancelled(self) -> bool: ...


class Request(Protocol):
    """`pb_utils.InferenceRequest`."""

    def request_id(self) -> str: ...
    def inputs(self) -> Sequence[Tensor]: ...
    def parameters(self) -> str: ...
    def get_response_sender(self) -> Sender: ...


class Logger(Protocol):
    """Triton's own log."""

    def log_info(self, message: str) -> None: ...
    def log_warn(self, message: str) -> None: ...
    def log_error(self, message: str) -> None: ...


class Backend(Protocol):
    """The part of `triton_python_backend_utils` in use."""

    Logger: Logger
    TritonError: Any

    Tensor: Callable[[str, Array], object]
    InferenceResponse: Callable[..., object]
    unload_model: Callable[[str], None]


def backend() -> Backend:
    """Imports the module that exists only inside Triton's Python stub."""
    return cast(Backend, importlib.import_module("triton_python_backend_utils"))


def unload(model: str) -> None:
    """Unloads the calling model, so that Triton no longer reports it as ready.

    Returns before Triton finalizes the model. If Triton cannot unload models (no explicit model
    control), this process ends, and Triton notices it at the next request.
    """
    try:
        backend().unload_model(model)
    except Exception as error:  # the stub raises its own classes
        backend().Logger.log_error(f"'{model}' cannot be unloaded ({error}); its process ends")
        os._exit(1)


def end_process() -> None:
    """Ends this stub immediately; must be the last call of `finalize`.

    At that point Triton only waits for the process. Freeing everything that vLLM or onnxruntime
    imported takes 1 to 3 s of CPU for each process, and all models end at the same time.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


@dataclass(frozen=True, slots=True)
class Settings:
    """A step's model name, version folder and config `parameters`, and its share of the machine:
    `gpus` by index, and the `engine` arguments for them."""

    model: str
    folder: Path
    parameters: Mapping[str, str]
    gpus: tuple[int, ...] = ()
    engine: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, args: Mapping[str, str]) -> "Settings":
        """Reads the arguments of `initialize`. Raises ValueError if the server is not the one that
        the repository was built for."""
        config = json.loads(args["model_config"])
        parameters = {
            name: str(value.get("string_value", ""))
            for name, value in config.get("parameters", {}).items()
        }
        # before weights are read: a wrong server fails in a second
        check_server(parameters.get("toolkit.target", ""), os.environ)
        folder = Path(args["model_repository"], args["model_version"])
        return cls(args["model_name"], folder, parameters, *_placement(args, os.environ))

    def text(self, name: str, default: str) -> str:
        return self.parameters.get(name, default)

    def number(self, name: str, default: int) -> int:
        return int(self.parameters.get(name, default))

    def real(self, name: str, default: float) -> float:
        return float(self.parameters.get(name, default))

    def table(self, name: str) -> dict[str, Any]:
        """A parameter that holds a JSON object; absent means empty."""
        value = json.loads(self.parameters.get(name) or "{}")
        if not isinstance(value, dict):
            raise TypeError(f"parameter '{name}' of model '{self.model}' is not a JSON object")
        return value

    def path(self, name: str, default: str) -> Path:
        """A parameter that names a file or folder relative to the version's folder."""
        return self.folder / self.parameters.get(name, default)


def _placement(
    args: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The GPUs of an instance, and engine arguments: Triton says the first (KIND_GPU), else
    `toolkit serve`, whose Triton does not know GPUs."""
    if args.get("model_instance_kind") == "GPU":
        # Triton sends texts for all of its arguments
        return (int(args["model_instance_device_id"]),), {}
    placed = json.loads(environment.get(PLACEMENT, "{}")).get(args["model_name"], {})
    return tuple(placed.get("gpus", ())), placed.get("engine", {})


def check_server(target: str, environment: Mapping[str, str]) -> None:
    """Raises ValueError, with the command to run, when the repository was built for another server.

    `toolkit serve` and NVIDIA's images identify themselves in an environment variable. Other
    servers are not checked; there Triton itself reports missing Python environments.
    """
    here = environment.get("TRITON_TOOLKIT_TARGET", "")
    built = target
    if not here and (release := environment.get("NVIDIA_TRITON_SERVER_VERSION", "")):
        # NVIDIA's images name their release, not the image variant
        here, built = f"container:{release}", target.partition("-")[0]
    if here and target and here != built:
        raise ValueError(
            f"this repository was built for the target '{target}' and this server is '{here}';"
            f" build it again: toolkit build-repo --target {here}"
        )


def read(request: Request) -> dict[str, Array]:
    """Reads a request's tensors, by name."""
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def decode(value: bytes | str, name: str) -> str:
    """Decodes one element of a STRING tensor. Raises InvalidInput if it is not UTF-8."""
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"'{name}' is not UTF-8 text: {error}", param=name) from error


def text(arrays: Arrays, name: str) -> str | None:
    """The value of a STRING tensor with one element; None if not sent. Raises InvalidInput if it
    has several, or is not UTF-8."""
    if name not in arrays:
        return None
    values = arrays[name].reshape(-1)
    if values.size != 1:
        raise InvalidInput(f"'{name}' holds {values.size} values; send exactly one", param=name)
    return decode(values[0], name)


def scalar(arrays: Arrays, name: str) -> Any:
    """A numeric or BOOL tensor that holds one value, as a Python value; None when not sent."""
    if name not in arrays:
        return None
    values = arrays[name].reshape(-1)
    if values.size != 1:
        raise InvalidInput(f"'{name}' holds {values.size} values; send exactly one", param=name)
    return values[0].item()


def json_object(arrays: Arrays, name: str) -> dict[str, Any] | None:
    """A STRING tensor that holds one JSON object; None when it was not sent."""
    source = text(arrays, name)
    if source is None:
        return None
    try:
        value = json.loads(source)
    # deep nesting exhausts the parser's recursion, which clients choose
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"'{name}' is not valid JSON: {error}", param=name) from error
    if not isinstance(value, dict):
        raise InvalidInput(f"'{name}' is not a JSON object", param=name)
    return value


def texts(values: Sequence[str | bytes]) -> Array:
    """A STRING tensor's values, shape [len(values)]."""
    # np.array(values) would be of fixed width, which drops zero bytes at the end of a text
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array


def respond(arrays: Arrays) -> object:
    """A response that carries these tensors."""
    stub = backend()
    return stub.InferenceResponse([stub.Tensor(name, values) for name, values in arrays.items()])


def refuse(error: BaseException) -> object:
    """An error response. Only a `StepError` includes details for the caller."""
    stub = backend()
    if isinstance(error, StepError):
        code = getattr(stub.TritonError, error.triton_code)
        return stub.InferenceResponse([], stub.TritonError(str(error), code))
    text = clip(f"{type(error).__name__}: {error}", 4000)
    # internal errors go to Triton's log; the gateway does not pass their text on
    return stub.InferenceResponse([], stub.TritonError(text))
