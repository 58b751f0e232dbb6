"""What the server works out by itself about a model: backend, platform, file name.

The completion follows what `AutoCompleteBackendFields` of Triton's core does, in its order.
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
"""Backend -> the file it opens when the config names none. The order is the server's."""

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
"""What people write for a backend -> its name."""
_OWN_FILES = {"vllm": "model.json"}
"""Files that a backend opens and nobody guesses it from."""
_TENSORFLOW_FILES = {
    "tensorflow_savedmodel": "model.savedmodel",
    "tensorflow_graphdef": "model.graphdef",
}
COMPLETING = frozenset(
    {"tensorrt", "onnxruntime", "openvino", "pytorch", "tensorflow", "vllm", "tensorrtllm", "fil"}
    | {"dali", "python"}
)
"""Backends that may fill in a config's inputs, outputs and batch size by themselves."""


@dataclass(frozen=True, slots=True)
class Served:
    """`filename` is "" where it is the backend's own business; `guessed` when it came from disk."""

    backend: str
    platform: str
    filename: str
    guessed: bool = False


def complete(name: str, config: ModelConfig, version: Path | None) -> Served:
    """Fills in what `config` leaves open from the files in `version`; "" where nothing fits."""
    platform, backend = config.platform, config.backend
    filename = config.default_model_filename
    if platform == "ensemble":
        return Served(backend, platform, filename)
    there = {each.name for each in version.iterdir()} if version else set()
    guessed = False
    if not backend:
        backend, platform = _by_platform(platform, filename)
        if not backend and not config.platform and not filename:
            backend, platform = _by_files(there)
            guessed = bool(backend)
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
    for backend, file in FILES.items():
        if file in there:
            return backend, ""
    return "", ""


def _default_file(backend: str, platform: str) -> str:
    return _TENSORFLOW_FILES.get(platform) or {**FILES, **_OWN_FILES}.get(backend, "")
