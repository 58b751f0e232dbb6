"""Completes backend, platform and file name of a model in the same way as the server.

The order is that of `AutoCompleteBackendFields` in Triton's core.
"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.model_config import ModelConfig

FILES = {
    "tensorrt": "model.plan",
    "onnxruntime": "model.onnx",
    "openvino": "model.xml",
    "pytorch": "model.pt",
    "python": "model.py",
}
"""Backend → the file that it opens by default. The order is the server's."""

PLATFORMS = {
    "tensorrt_plan": "tensorrt",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_savedmodel": "tensorflow",
    "tensorflow_graphdef": "tensorflow",
}
USUAL_NAMES = PLATFORMS | {
    "onnx": "onnxruntime",
    "torch": "pytorch",
    "libtorch": "pytorch",
    "trt": "tensorrt",
}
"""Other names for backends → Triton's name."""
_OWN_FILES = {"vllm": "model.json"}
"""Backend → its file, for backends that the server does not guess from a file."""
_TENSORFLOW_FILES = {
    "tensorflow_savedmodel": "model.savedmodel",
    "tensorflow_graphdef": "model.graphdef",
}
COMPLETING = frozenset(
    {"tensorrt", "onnxruntime", "openvino", "pytorch", "tensorflow", "vllm", "tensorrtllm", "fil"}
    | {"dali", "python"}
)
"""Backends that may complete inputs, outputs and batch size of a config."""


@dataclass(frozen=True, slots=True)
class Served:
    """`filename` is "" if the backend chooses it; `guessed`: the backend was derived from files."""

    backend: str
    platform: str
    filename: str
    guessed: bool = False


def complete(name: str, config: ModelConfig, version: Path | None) -> Served:
    """Completes `config` from the files in `version`; "" for what stays unknown."""
    platform, backend = config.platform, config.backend
    filename = config.default_model_filename
    if platform == "ensemble":
        # an ensemble has neither a backend nor a file
        return Served(backend, platform, filename)
    there = {each.name for each in version.iterdir()} if version else set()
    guessed = False
    if not backend:
        backend, platform = _by_platform(platform, filename)
        if not backend and not config.platform and not filename:
            backend, platform = _by_files(there)
            guessed = bool(backend)
    # the core's last guess: `model.onnxruntime` as a folder's name
    if not backend and not config.platform and not filename and "." in name:
        backend = name.partition(".")[2]
        return Served(backend, "", f"model.{backend}", True)
    return Served(backend, platform, filename or _default_file(backend, platform), guessed)


def _by_platform(platform: str, filename: str) -> tuple[str, str]:
    if platform in PLATFORMS:
        return PLATFORMS[platform], platform
    for each, file in _TENSORFLOW_FILES.items():
        if filename == file:
            return "tensorflow", each
    for backend, file in FILES.items():
        if filename == file and (not platform or backend == "python"):
            return backend, platform
    return "", platform


def _by_files(there: set[str]) -> tuple[str, str]:
    for platform, file in _TENSORFLOW_FILES.items():
        if file in there:
            return "tensorflow", platform
    # the first match wins, as in the core: a folder may hold several
    for backend, file in FILES.items():
        if file in there:
            return backend, ""
    return "", ""


def _default_file(backend: str, platform: str) -> str:
    return _TENSORFLOW_FILES.get(platform) or {**FILES, **_OWN_FILES}.get(backend, "")
