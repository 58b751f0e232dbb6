"""Version folders and the files that the backend opens."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule

_PLACEHOLDERS = {".gitkeep", ".gitignore", ".keep", ".placeholder", "README.md", ".gitattributes"}
_LFS = b"version https://git-lfs"
_LFS_BYTES = 1024
_HANGS = "{target} never finishes loading the model and does not report an error"


@rule("no-version", "No version folder", Effect.REFUSED, parsed=False)
def no_version(model: Model) -> Iterator[ModelFinding]:
    """Each model, including ensembles, needs a folder whose name is a number, such as `1`.

    Git does not keep empty folders: add a file such as `.gitkeep` to the `1/` of an ensemble. Names
    such as `v1`, `latest` or `01` are not valid versions.
    """
    if model.versions:
        return
    near = [each.name for each in model.folder.iterdir() if each.is_dir() and _resembles(each.name)]
    loose = [each for each in model.folder.iterdir() if each.name == model.served.filename]
    yield model.file_finding(
        model.folder,
        f"model '{model.name}' has no version folder"
        + (f"; '{near[0]}' is not a valid version number" if near else "")
        + (f"; {loose[0].name} is not in a version folder" if loose else ""),
        f"rename {model.name}/{near[0]} to {model.name}/1"
        if near
        else f"create {model.name}/1" + (f" and move {loose[0].name} into it" if loose else ""),
    )


def _resembles(name: str) -> bool:
    return name == "latest" or name.lstrip("vV").replace("_", "").replace(".", "").isdigit()


@rule("version-policy", "Version policy without a matching version", Effect.REFUSED)
def version_policy(model: Model) -> Iterator[ModelFinding]:
    """The policy must select at least one existing version folder."""
    policy = model.config.version_policy
    if not model.versions:
        return  # `no-version` reports this
    available = ", ".join(map(str, sorted(model.versions)))
    path = f"version_policy.{policy.WhichOneof('policy_choice')}"
    if not model.served_versions:
        yield model.finding(
            path,
            f"the policy matches no version; available: {available}",
            "name an available version",
        )


@rule("version-missing", "Listed version not found", Effect.RISK)
def version_missing(model: Model) -> Iterator[ModelFinding]:
    """A version in `specific` has no folder. The server serves the other versions."""
    policy = model.config.version_policy
    for index, number in enumerate(policy.specific.versions):
        # without any served version the model is refused, which `version-policy` reports
        if number not in model.versions and model.served_versions:
            yield model.finding(
                f"version_policy.specific.versions[{index}]",
                f"the folder {model.name}/{number} does not exist",
                "add the folder, or remove the number",
                "{target} serves the other versions",
            )


@rule("missing-file", "Model file not found", Effect.REFUSED)
def missing_file(model: Model) -> Iterator[ModelFinding]:
    """Each served version needs the file that its backend opens, with its exact name.

    DALI also accepts `dali.py`, and PyTorch with `runtime: "model.py"` also accepts `model.py`.

    For a Python model without `model.py`, Triton 24.10 does not report an error: loading never
    ends, and the server never becomes ready.
    """
    name = model.served.filename
    if not name or model.is_ensemble:
        return
    for number, folder in model.served_versions.items():
        # a placeholder alone is `absent-weights`: usual in a fresh checkout
        if any((folder / each).exists() for each in _accepted(model)) or _only_placeholder(folder):
            continue
        near = _near(folder, name)
        finding = model.file_finding(
            folder,
            f"version {number} of '{model.name}' has no {name}"
            + (f"; it has {near}" if near else ""),
            f'rename {near} to {name}, or write default_model_filename: "{near}"'
            if near
            else f"put {name} into {model.name}/{number}",
        )
        hangs = model.served.backend == "python" and model.target.embedded
        yield replace(finding, outcome=_HANGS if hangs else "")


def _accepted(model: Model) -> tuple[str, ...]:
    """File names; a version needs one of them."""
    served = model.served
    if served.backend == "pytorch" and model.config.runtime == "model.py":
        return (served.filename, "model.py", "model.pt")
    return (served.filename, "dali.py") if served.backend == "dali" else (served.filename,)


@rule("absent-weights", "Weights not in this checkout", Effect.RISK)
def absent_weights(model: Model) -> Iterator[ModelFinding]:
    """A version folder contains only a placeholder for git and no weights.

    Fetch or convert the weights before the server starts.
    """
    name = model.served.filename
    if not name or model.is_ensemble:
        return
    for number, folder in model.served_versions.items():
        if not (folder / name).exists() and _only_placeholder(folder):
            text = f"version {number} of '{model.name}' has no {name} yet"
            yield model.file_finding(folder, text, f"add {name} before the server starts")


@rule("weights-pointer", "Git LFS pointer instead of weights", Effect.REFUSED)
def weights_pointer(model: Model) -> Iterator[ModelFinding]:
    """The file is a Git LFS pointer; the weights were not downloaded."""
    name = model.served.filename
    for folder in model.served_versions.values() if name and not model.is_ensemble else ():
        path = folder / name
        if path.is_file() and is_pointer(path):
            yield model.file_finding(path, f"{name} is a Git LFS pointer", "run: git lfs pull")


def is_pointer(path: Path) -> bool:
    """Whether the file is a Git LFS pointer."""
    # pointers have about 130 bytes, and weights are not read for this
    return path.stat().st_size < _LFS_BYTES and path.read_bytes().startswith(_LFS)


def _only_placeholder(folder: Path) -> bool:
    names = {each.name for each in folder.iterdir()}
    return bool(names) and names <= _PLACEHOLDERS


def _near(folder: Path, name: str) -> str | None:
    suffix = Path(name).suffix
    files = sorted(each.name for each in folder.iterdir() if each.is_file())
    same = [each for each in files if each.lower() == name.lower()]
    like = [each for each in files if suffix and each.endswith(suffix)]
    nearest = same or (like if len(like) == 1 else [])
    return nearest[0] if nearest else None


RULES = (no_version, version_policy, version_missing, missing_file, absent_weights, weights_pointer)
