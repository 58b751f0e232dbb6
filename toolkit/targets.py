"""What a repository is built for: one row per server, with what decides how configs are written.

Data only. What a release knows and refuses is in `toolkit.verify.releases`, under the same names.
"""

from dataclasses import dataclass

from toolkit.errors import RepositoryError


@dataclass(frozen=True, slots=True)
class Target:
    """`environments` is where models find their Python environments, None where the server's own
    Python has all packages; `gpu`: models may leave their placement to the engine."""

    name: str
    release: str
    triton: str
    environments: str | None
    gpu: bool


TARGETS = {
    target.name: target
    for target in (
        Target(
            name="embedded",
            release="24.10",
            triton="2.51.0",
            environments="$$TRITON_MODEL_DIRECTORY/../.environments",
            gpu=False,
        ),
        Target(
            name="container:26.08", release="26.08", triton="2.71.0", environments=None, gpu=True
        ),
    )
}


def find_target(name: str) -> Target:
    """The row of that name; `container` means the newest one. Raises RepositoryError."""
    if name == "container":
        return list(TARGETS.values())[-1]
    if name not in TARGETS:
        raise RepositoryError(f"no target '{name}'", hint=f"known: {', '.join(TARGETS)}")
    return TARGETS[name]
