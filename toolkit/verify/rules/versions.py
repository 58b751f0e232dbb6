"""What stands beside the config: version folders and the files the backend opens."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule

_PLACEHOLDERS = {".gitkeep", ".gitignore", ".keep", ".placeholder", "README.md", ".gitattributes"}
_LFS = b"version https://git-lfs"
_LFS_BYTES = 1024
_HANGS = "{target} never finishes loading the model: no error, and it is never ready"


@rule("no-version", "No version folder", Effect.REFUSED, parsed=False)
def no_version(model: Model) -> Iterator[Hit]:
    """Every model, ensembles too, needs a folder whose name is a number, as `1`.

    Git keeps no empty folder: an ensemble's `1/` needs a file, such as `.gitkeep`, to survive a
    clone. Names such as `v1`, `latest` or `01` are no versions.
    """
    if model.versions:
        return
    near = [each.name for each in model.folder.iterdir() if each.is_dir() and _resembles(each.name)]
    loose = [each for each in model.folder.iterdir() if each.name == model.served.filename]
    yield model.hit_file(
        model.folder,
        f"model '{model.name}' has no version folder"
        + (f"; '{near[0]}' is not a number as the server reads it" if near else "")
        + (f"; {loose[0].name} stands outside of one" if loose else ""),
        f"rename {model.name}/{near[0]} to {model.name}/1"
        if near
        else f"make {model.name}/1" + (f" and move {loose[0].name} into it" if loose else ""),
    )


def _resembles(name: str) -> bool:
    return name == "latest" or name.lstrip("vV").replace("_", "").replace(".", "").isdigit()


@rule("version-policy", "Version policy that picks nothing", Effect.REFUSED)
def version_policy(model: Model) -> Iterator[Hit]:
    """The policy must pick at least one version folder that is there."""
    policy = model.config.version_policy
    if not model.versions:
        return  # `no-version` says so
    there = ", ".join(map(str, sorted(model.versions)))
    path = f"version_policy.{policy.WhichOneof('policy_choice')}"
    if not model.served_versions:
        yield model.hit(
            path, f"this picks no version; there is {there}", "name one of the versions there"
        )


@rule("version-missing", "Version that is asked for and not there", Effect.RISK)
def version_missing(model: Model) -> Iterator[Hit]:
    """A version in `specific` without a folder: the server serves the others."""
    policy = model.config.version_policy
    for index, number in enumerate(policy.specific.versions):
        if number not in model.versions and model.served_versions:
            yield model.hit(
                f"version_policy.specific.versions[{index}]",
                f"there is no folder {model.name}/{number}",
                "add the folder, or remove the number",
                "{target} serves the other versions",
            )


@rule("missing-file", "File that the backend opens is not there", Effect.REFUSED)
def missing_file(model: Model) -> Iterator[Hit]:
    """Each served version needs the backend's file, under its exact name.

    DALI takes a `dali.py` in its place, PyTorch with `runtime: "model.py"` a `model.py`.

    The Python backend is worst: without its `model.py` Triton 24.10 reports nothing at all, the
    load never ends and the server is never ready.
    """
    name = model.served.filename
    if not name or model.is_ensemble:
        return
    for number, folder in model.served_versions.items():
        if any((folder / each).exists() for each in _accepted(model)) or _only_placeholder(folder):
            continue
        near = _near(folder, name)
        hit = model.hit_file(
            folder,
            f"version {number} of '{model.name}' has no {name}"
            + (f", only {near}" if near else ""),
            f'rename {near} to {name}, or write default_model_filename: "{near}"'
            if near
            else f"put {name} into {model.name}/{number}",
        )
        hangs = model.served.backend == "python" and model.target.embedded
        yield Hit(hit.place, "", hit.message, hit.fix, _HANGS if hangs else "")


def _accepted(model: Model) -> tuple[str, ...]:
    """Names of files of which a version needs one."""
    served = model.served
    if served.backend == "pytorch" and model.config.runtime == "model.py":
        return (served.filename, "model.py", "model.pt")
    return (served.filename, "dali.py") if served.backend == "dali" else (served.filename,)


@rule("absent-weights", "Weights that are not in this checkout", Effect.RISK)
def absent_weights(model: Model) -> Iterator[Hit]:
    """A version folder that holds a placeholder, so that git keeps it, and no weights.

    They are meant to be fetched or converted before the server starts.
    """
    name = model.served.filename
    if not name or model.is_ensemble:
        return
    for number, folder in model.served_versions.items():
        if not (folder / name).exists() and _only_placeholder(folder):
            text = f"version {number} of '{model.name}' holds no {name} yet"
            yield model.hit_file(folder, text, f"put {name} there before the server starts")


@rule("weights-pointer", "Git LFS pointer in place of weights", Effect.REFUSED)
def weights_pointer(model: Model) -> Iterator[Hit]:
    """The file is Git LFS's note about the weights, not the weights."""
    name = model.served.filename
    for folder in model.served_versions.values() if name and not model.is_ensemble else ():
        path = folder / name
        if path.is_file() and is_pointer(path):
            yield model.hit_file(path, f"{name} is a Git LFS pointer", "run: git lfs pull")


def is_pointer(path: Path) -> bool:
    """Whether the file is Git LFS's note about a file."""
    return path.stat().st_size < _LFS_BYTES and path.read_bytes().startswith(_LFS)


def _only_placeholder(folder: Path) -> bool:
    names = {each.name for each in folder.iterdir()}
    return bool(names) and names <= _PLACEHOLDERS


def _near(folder: Path, name: str) -> str | None:
    suffix = Path(name).suffix
    files = sorted(each.name for each in folder.iterdir() if each.is_file())
    same = [each for each in files if each.lower() == name.lower()]
    like = [each for each in files if suffix and each.endswith(suffix)]
    found = same or (like if len(like) == 1 else [])
    return found[0] if found else None


RULES = (no_version, version_policy, version_missing, missing_file, absent_weights, weights_pointer)
