"""What a repository is built for: one row per server that is known, and what each server knows.

Data only. `toolkit build-repo` writes for a row, `toolkit verify` checks against it. Versions of
the container rows are those of NVIDIA's release compatibility matrix; where a row's knowledge was
not taken from the release itself, the row says so.
"""

from dataclasses import dataclass

from toolkit.engine_arguments import engine_arguments
from toolkit.errors import RepositoryError

FIELDS_SINCE = {
    "inference.ModelConfig.model_metrics": "25.01",
    "inference.ModelEnsembling.max_inflight_requests": "25.11",
}
"""Protobuf field -> the release that brought it; every other one is older than release 24.10."""

CONTAINER_BACKENDS = frozenset(
    {"python", "onnxruntime", "tensorrt", "pytorch", "openvino", "dali", "fil", "identity"}
    | {"repeat", "square", "vllm", "tensorrtllm", "hugectr", "hps"}
)
"""Backends that some image of a release has. The vLLM image itself lacks several of them."""


@dataclass(frozen=True, slots=True)
class Target:
    """`environments` is where models find their Python environments, None where the server's own
    Python has all packages; `gpu`: models may leave their placement to the engine. `backends` are
    those that generated repositories use; `stub` is the Python that the backend's stub was built
    for. `vllm` names the version whose arguments are checked, `vllm_note` how far that is known."""

    name: str
    release: str
    triton: str
    environments: str | None
    gpu: bool
    backends: frozenset[str]
    stub: str
    vllm: str
    vllm_note: str

    @property
    def native_onnx(self) -> bool:
        """Whether the server itself runs ONNX graphs."""
        return "onnxruntime" in self.backends

    @property
    def engine_arguments(self) -> dict[str, str]:
        """Name → type of every argument that this server's vLLM takes."""
        return engine_arguments(self.vllm)


def _container(release: str, triton: str, vllm: str) -> Target:
    return Target(
        name=f"container:{release}",
        release=release,
        triton=triton,
        environments=None,
        gpu=True,
        backends=frozenset({"python", "onnxruntime"}),
        stub="3.12",
        vllm=vllm,
        vllm_note=f"read from the published vLLM {vllm}; NVIDIA's build in the image may differ, "
        "and was not inspected",
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
            vllm="0.32.0",
            vllm_note="read from the vLLM that the toolkit installs",
        ),
        _container("25.08", "2.60.0", "0.9.2"),
        _container("25.12", "2.64.0", "0.11.1"),
        _container("26.07", "2.71.0", "0.24.0"),
        _container("26.08", "2.72.0", "0.27.1"),
    )
}
FORMS = "embedded, container or container:YY.MM"


def find_target(name: str) -> Target:
    """The row of that name; `container` means the newest one. Raises RepositoryError."""
    if name == "container":
        return list(TARGETS.values())[-1]
    if name not in TARGETS:
        raise RepositoryError(f"no target '{name}'", hint=f"known: container, {', '.join(TARGETS)}")
    return TARGETS[name]
