"""The library behind the command `toolkit`: models.yaml → a model repository, checked.

`build` and `verify` are the public functions; docs/guides/python.md describes them. Importing this
package imports nothing else.
"""

from __future__ import annotations

# typing and pathlib take so long that Ctrl-C meets them, before `toolkit.cli` can catch it
TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from toolkit.building import Built
    from toolkit.progress import Progress
    from toolkit.verifier import ModelFinding

__all__ = ["__version__", "build", "verify"]
__version__ = "0.1.0"


def build(
    models: str | PathLike[str] = "models.yaml",
    *,
    target: str = "embedded",
    output: str | PathLike[str] = "model_repository",
    progress: Progress | None = None,
) -> Built:
    """Builds the model repository of a models.yaml at `output`, as `toolkit build-repo` does.

    Weights are fetched and converted once and kept in the cache. `output` is replaced in one step
    when everything has been made and verified. Raises `toolkit.errors.ToolkitError`: SpecError with
    all errors of models.yaml, BuildError with all errors of the weights, MissingExtra without a
    library that the build needs, and RepositoryError if `output` cannot be replaced.
    """
    from pathlib import Path  # noqa: PLC0415  importing toolkit is cheap

    from toolkit.building import build as build_spec  # noqa: PLC0415
    from toolkit.building import load_for_build  # noqa: PLC0415
    from toolkit.progress import silent  # noqa: PLC0415
    from toolkit.targets import find_target  # noqa: PLC0415

    found = find_target(target)
    return build_spec(load_for_build(Path(models), found), found, Path(output), progress or silent)


def verify(
    repository: str | PathLike[str] = "model_repository", *, target: str | None = None
) -> list[ModelFinding]:
    """Checks a model repository, as `toolkit verify` does; the list is empty if it is correct.

    `target` is what the repository is checked for; by default the one that it was built for. Reads
    files only. Raises `toolkit.errors.RepositoryError` when there is no repository.
    """
    from pathlib import Path  # noqa: PLC0415

    from toolkit.verifier import guess_target, verify_repository  # noqa: PLC0415

    root = Path(repository)
    return verify_repository(root, target or guess_target(root))
