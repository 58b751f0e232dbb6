"""What each Triton release knows, as far as checking a repository is concerned.

The releases that the toolkit builds for are rows of `toolkit.targets`; any other container release
can be checked against, too, with what is known of all of them.
"""

from dataclasses import dataclass

from toolkit.engine_arguments import engine_arguments
from toolkit.errors import RepositoryError
from toolkit.targets import CONTAINER_BACKENDS, FIELDS_SINCE, TARGETS

NEWEST_RELEASE = max(target.release for target in TARGETS.values())
_UNTIL_25_02 = frozenset({"tensorflow"})


@dataclass(frozen=True, slots=True)
class Target:
    """A server that a repository is meant for. `gpus` is None when nobody knows how many; `vllm` is
    None when nobody knows which version it carries."""

    name: str
    release: str
    backends: frozenset[str]
    gpus: int | None
    vllm: str | None = None

    @property
    def engine_arguments(self) -> dict[str, str] | None:
        """Name → type of what this server's vLLM takes, None when that is not known."""
        return None if self.vllm is None else engine_arguments(self.vllm)

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
        known = TARGETS[name]
        return Target(name, known.release, known.backends, 0, known.vllm)
    kind, _, release = name.partition(":")
    release = release or NEWEST_RELEASE
    if kind != "container" or not _is_release(release):
        raise RepositoryError(
            f"there is no target '{name}'", hint=f"targets: container, {', '.join(TARGETS)}"
        )
    full = f"container:{release}"
    old = _UNTIL_25_02 if release <= "25.02" else frozenset()
    vllm = TARGETS[full].vllm if full in TARGETS else None
    return Target(full, release, CONTAINER_BACKENDS | old, gpus, vllm)


def _is_release(text: str) -> bool:
    year, _, month = text.partition(".")
    return year.isdigit() and month.isdigit() and len(year) == len(month) == 2 and int(month) <= 12
