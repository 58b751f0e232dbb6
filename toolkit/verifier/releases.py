"""The properties of Triton releases that matter for checking a repository.

The releases that the toolkit builds for are in `toolkit.targets`. Repositories can be checked for
any other container release as well: its images have the backends of their variant.
"""

import re
from dataclasses import dataclass

from toolkit.errors import RepositoryError
from toolkit.targets import FIELDS_SINCE, NEWEST, TARGETS, VARIANTS, target_hint

_UNTIL_25_02 = frozenset({"tensorflow"})
_CONTAINER = re.compile(r"container:(\d\d\.(?:0\d|1[0-2]))(?:-([a-z-]+))?")


@dataclass(frozen=True, slots=True)
class Server:
    """The server that a repository is checked for.

    `gpus` is None if the number is unknown, `vllm` is None if the version is unknown or the image
    has no vLLM. `engine` is the library for language models in its Python, if there is one.
    """

    name: str
    release: str
    backends: frozenset[str]
    gpus: int | None
    vllm: str | None = None
    engine: str | None = None

    @property
    def embedded(self) -> bool:
        return self.name == "embedded"

    @property
    def label(self) -> str:
        """The name of the server in messages."""
        return f"Triton {self.release}"

    @property
    def numpy_below_2(self) -> bool:
        """Whether the Python stub was built for numpy 1; numpy 2 then corrupts tensors."""
        return self.embedded

    def lacks(self, field: str) -> str | None:
        """The release that introduced the protobuf field `field`, if this one does not have it."""
        since = FIELDS_SINCE.get(field)
        return since if since is not None and self.release < since else None


def find_server(name: str, gpus: int | None = None) -> Server:
    """The server that a name of `toolkit.targets.FORMS` stands for. Raises RepositoryError if the
    name is not known."""
    name = NEWEST if name == "container" else name
    if row := TARGETS.get(name):
        return Server(name, row.release, row.backends, gpus if row.gpu else 0, row.vllm, row.engine)
    match = _CONTAINER.fullmatch(name)
    variant = VARIANTS.get(match[2] or "") if match else None
    if match is None or variant is None:
        raise RepositoryError(f"unknown target '{name}'", hint=target_hint(name))
    # YY.MM, so comparing texts compares dates
    old = _UNTIL_25_02 if match[1] <= "25.02" and not match[2] else frozenset()
    return Server(name, match[1], variant.backends | old, gpus, engine=variant.engine)
