"""What each Triton release knows, as far as a repository is concerned.

Data, and how a `--target` is read. The fields come from the `model_config.proto` of the releases;
whatever stands in the newest one and in no `since` here is older than release 24.10.
"""

from dataclasses import dataclass

from toolkit.errors import RepositoryError

FIELDS_SINCE = {
    "inference.ModelConfig.model_metrics": "25.01",
    "inference.ModelEnsembling.max_inflight_requests": "25.11",
}
"""Protobuf field -> the release that brought it."""

EMBEDDED_RELEASE = "24.10"
NEWEST_RELEASE = "26.08"
RELEASES = ("24.10", "25.08", NEWEST_RELEASE)

_CONTAINER_BACKENDS = frozenset(
    {"python", "onnxruntime", "tensorrt", "pytorch", "openvino", "dali", "fil", "identity"}
    | {"repeat", "square", "vllm", "tensorrtllm", "hugectr", "hps"}
)
_UNTIL_25_02 = frozenset({"tensorflow"})


@dataclass(frozen=True, slots=True)
class Target:
    """A server that a repository is meant for. `gpus` is None when nobody knows how many."""

    name: str
    release: str
    backends: frozenset[str]
    gpus: int | None

    @property
    def embedded(self) -> bool:
        return self.name == "embedded"

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"Triton {self.release}"

    @property
    def numpy_below_2(self) -> bool:
        """Whether its Python stub was built for numpy 1: with numpy 2 tensors arrive corrupted."""
        return self.embedded

    def lacks(self, field: str) -> str | None:
        """The release that brought protobuf field `field`, if this one does not have it yet."""
        since = FIELDS_SINCE.get(field)
        return since if since is not None and self.release < since else None


def find_target(name: str, gpus: int | None = None) -> Target:
    """Reads `embedded`, `container` or `container:YY.MM`. Raises RepositoryError."""
    if name == "embedded":
        return Target(name, EMBEDDED_RELEASE, frozenset({"python"}), 0)
    kind, _, release = name.partition(":")
    release = release or NEWEST_RELEASE
    if kind != "container" or not _is_release(release):
        raise RepositoryError(
            f"there is no target '{name}'",
            hint="targets: embedded, container, "
            + ", ".join(f"container:{each}" for each in RELEASES),
        )
    old = _UNTIL_25_02 if release <= "25.02" else frozenset()
    return Target(f"container:{release}", release, _CONTAINER_BACKENDS | old, gpus)


def _is_release(text: str) -> bool:
    year, _, month = text.partition(".")
    return year.isdigit() and month.isdigit() and len(year) == len(month) == 2 and int(month) <= 12
