"""The targets of a build: one row for each server, with its backends, Python and vLLM.

Data only. `toolkit build-repo` writes for a row and `toolkit verify` checks against it. Each row of
an image follows NVIDIA's published pages, listed in docs/decisions/0031-images.md; no image was
inspected. It does not know how a server is started.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.engine_arguments import Declared, engine_arguments
from toolkit.errors import UsageError
from toolkit.names import close_matches

FIELDS_SINCE = {
    "inference.ModelConfig.model_metrics": "25.01",
    "inference.ModelEnsembling.max_inflight_requests": "25.11",
}
"""Protobuf field -> the release that brought it; every other one is older than release 24.10."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One kind of image of a release. `tag` completes `nvcr.io/nvidia/tritonserver:YY.MM-`; it is
    empty where docker/triton.Dockerfile joins two images. `engine` runs language models."""

    tag: str
    backends: frozenset[str]
    engine: str | None = None


PY3 = frozenset(
    {"python", "onnxruntime", "tensorrt", "pytorch", "openvino", "dali", "fil"}
    | {"identity", "repeat", "square"}
)
VARIANTS = {
    "": Variant("py3", PY3),
    "vllm": Variant("vllm-python-py3", frozenset({"python", "vllm"}), "vllm"),
    "vllm-onnx": Variant("", frozenset({"python", "vllm", "onnxruntime"}), "vllm"),
    "trtllm": Variant("trtllm-python-py3", frozenset({"python", "tensorrtllm"}), "tensorrt-llm"),
}
"""What follows `container:YY.MM-` -> the image. NVIDIA's images of one engine have no others."""

KNOWN_BACKENDS = frozenset[str]().union(*(variant.backends for variant in VARIANTS.values()))
"""Backends that at least one image of NVIDIA has."""


@dataclass(frozen=True, slots=True)
class Target:
    """`environments` is where models find their Python environments, None where the server's own
    Python has all packages; `gpu`: models may leave their placement to the engine. `stub` is the
    Python that the backend's stub was built for. `vllm` names the version whose arguments are
    checked, None without vLLM; `vllm_note` says how far that is known. `engine_version` and
    `size_gb` are those of NVIDIA's compatibility matrix."""

    name: str
    release: str
    triton: str
    environments: str | None
    gpu: bool
    backends: frozenset[str]
    stub: str
    engine: str | None
    engine_version: str
    vllm: str | None
    vllm_note: str
    image: str | None = None
    size_gb: float | None = None

    @property
    def native_onnx(self) -> bool:
        """Whether the server itself runs ONNX graphs."""
        return "onnxruntime" in self.backends

    @property
    def engine_arguments(self) -> Mapping[str, Declared]:
        """Name → type of every argument that this server's vLLM takes; empty without vLLM."""
        return engine_arguments(self.vllm) if self.vllm else {}


@dataclass(frozen=True, slots=True)
class _Release:
    """A release's versions of Triton, vLLM, TensorRT-LLM (None: no such image) and onnxruntime,
    and the sizes of the vLLM and TensorRT-LLM images in GB."""

    name: str
    triton: str
    vllm: str
    tensorrt_llm: str | None
    onnxruntime: str
    vllm_gb: float
    tensorrt_llm_gb: float | None


RELEASES = (
    _Release("25.08", "2.60.0", "0.9.2", "0.21.0", "1.23.0", 8.1, 20.49),
    _Release("25.12", "2.64.0", "0.11.1", "1.1.0", "1.23.2", 8.54, 16.04),
    _Release("26.07", "2.71.0", "0.24.0", "1.2.1", "1.27.0", 10.28, 14.2),
    _Release("26.08", "2.72.0", "0.27.1", None, "1.28.0", 10.65, None),
)
"""The releases that repositories are built for. A release without TensorRT-LLM has no row in the
matrix's table of those images."""


def _container(release: _Release, key: str) -> Target:
    variant = VARIANTS[key]
    vllm = release.vllm if variant.engine == "vllm" else None
    versions = {"vllm": release.vllm, "tensorrt-llm": release.tensorrt_llm or "", None: ""}
    return Target(
        name=f"container:{release.name}" + (f"-{key}" if key else ""),
        release=release.name,
        triton=release.triton,
        environments=None,
        gpu=True,
        backends=variant.backends,
        stub="3.12",
        engine=variant.engine,
        engine_version=versions[variant.engine],
        vllm=vllm,
        vllm_note=f"read from the published vLLM {vllm}; NVIDIA's build in the image may differ"
        if vllm
        else "",
        image=f"nvcr.io/nvidia/tritonserver:{release.name}-{variant.tag}" if variant.tag else None,
        size_gb={"vllm": release.vllm_gb, "trtllm": release.tensorrt_llm_gb}.get(key),
    )


TARGETS = {
    target.name: target
    for target in (
        Target(
            name="embedded",
            release="24.10",
            triton="2.51.0",
            environments="$$TRITON_MODEL_DIRECTORY/../.environments",
            gpu=False,
            backends=frozenset({"python"}),
            stub="3.11",
            engine="vllm",
            engine_version="0.32.0",
            vllm="0.32.0",
            vllm_note="read from the vLLM that the toolkit installs",
        ),
        *(
            _container(release, key)
            for release in RELEASES
            for key in VARIANTS
            if key != "trtllm" or release.tensorrt_llm
        ),
    )
}
NEWEST = f"container:{RELEASES[-1].name}-vllm"
"""What `container` stands for."""
FORMS = "embedded, container, container:YY.MM, or container:YY.MM with -vllm, -vllm-onnx or -trtllm"


def find_target(name: str) -> Target:
    """The target of that name; `container` means the newest vLLM image. Raises UsageError if the
    name is not known."""
    name = NEWEST if name == "container" else name
    if name in TARGETS:
        return TARGETS[name]
    release, _, variant = name.removeprefix("container:").partition("-")
    if variant == "trtllm" and release in {each.name for each in RELEASES}:
        raise UsageError(
            f"NVIDIA does not list a TensorRT-LLM image for the release {release}",
            hint=f"use {newest_trtllm()}",
        )
    raise UsageError(f"unknown target '{name}'", hint=target_hint(name))


def target_hint(name: str) -> str:
    """What a mistyped target may have meant, else all forms of a target."""
    if near := close_matches(name, ["container", *TARGETS], cutoff=0.8):
        return f"did you mean '{near[0]}'?"
    releases = ", ".join(each.name for each in RELEASES)
    return f"write {FORMS}; releases: {releases}"


def newest_trtllm() -> str:
    """The target of the newest TensorRT-LLM image."""
    return [name for name in TARGETS if name.endswith("-trtllm")][-1]


def with_engine(release: str, engine: str) -> list[str]:
    """The targets of that release whose server has the engine; else the newest that has it."""
    able = [each for each in TARGETS.values() if each.engine == engine and each.gpu]
    same = [each.name for each in able if each.release == release]
    return same or [NEWEST if engine == "vllm" else newest_trtllm()]


def with_backend(release: str, backend: str) -> list[str]:
    """The targets of that release whose server has the backend."""
    return [
        each.name
        for each in TARGETS.values()
        if each.release == release and backend in each.backends and each.name != "embedded"
    ]
