"""What a built repository is served by: one row per Triton release that repositories are made for.

Data only. A field or backend that a release does not have makes it reject the whole model, so plans
and checks ask here.
"""

from dataclasses import dataclass

from toolkit.errors import RepositoryError


@dataclass(frozen=True, slots=True)
class Target:
    """`python` is the version of the Python backend's stub; `unknown_fields` are dotted names that
    this client's schema has and the release's has not."""

    name: str
    release: str
    triton: str
    python: str
    backends: frozenset[str]
    unknown_fields: frozenset[str] = frozenset()
    environments: str | None = None
    gpu: bool = False


_SINCE_25_11 = frozenset({"ensemble_scheduling.max_inflight_requests"})
_SINCE_25_08 = frozenset({"model_metrics"})

TARGETS = {
    target.name: target
    for target in (
        Target(
            name="embedded",
            release="24.10",
            triton="2.51.0",
            python="3.11",
            backends=frozenset({"python"}),
            unknown_fields=_SINCE_25_08 | _SINCE_25_11,
            environments="$$TRITON_MODEL_DIRECTORY/../.environments",
        ),
        Target(
            name="container:26.08",
            release="26.08",
            triton="2.71.0",
            python="3.12",
            backends=frozenset({"python", "vllm", "onnxruntime"}),
            gpu=True,
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
