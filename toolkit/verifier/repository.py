"""Finds the models of a repository on disk and applies all rules to each.

It only reads files. The target comes from the caller, from `repository.json`, or is guessed from
the backends that the models use.
"""

import json
from pathlib import Path

from toolkit.errors import RepositoryError
from toolkit.targets import KNOWN_BACKENDS, RELEASES, TARGETS
from toolkit.verifier.backends import FILES
from toolkit.verifier.finding import ModelFinding
from toolkit.verifier.model import CONFIG, Model
from toolkit.verifier.releases import Server, find_server
from toolkit.verifier.table import RULES

MANIFEST = "repository.json"
_WEIGHTS = {*FILES.values(), "model.graphdef", "model.savedmodel"}


def verify_repository(path: Path, target: str | Server) -> list[ModelFinding]:
    """All findings about the repository at `path`, ordered by model, file and line.

    Raises RepositoryError if the repository or the target does not exist, MissingExtra if ONNX
    files must be read and the library is not installed.
    """
    chosen = find_server(target) if isinstance(target, str) else target
    models = read_models(path, chosen)
    findings = [
        each for model in models.values() for rule in RULES.values() for each in rule.apply(model)
    ]
    return sorted(findings, key=lambda f: (f.model, f.place.file, f.place.line, f.place.column))


def read_models(path: Path, target: Server) -> dict[str, Model]:
    """The models in `path` by name. Raises RepositoryError if there are none."""
    if not path.is_dir():
        is_file = path.exists()
        raise RepositoryError(
            f"{path} is a file, not a folder" if is_file else f"the folder {path} does not exist",
            hint="pass the folder that contains one folder per model",
        )
    if (path / CONFIG).is_file():
        raise RepositoryError(
            f"{path} is a single model, not a repository", hint=f"toolkit verify {path.parent}"
        )
    folders = [each for each in sorted(path.iterdir()) if _is_model(each)]
    if not folders:
        inner = sorted(path.glob(f"*/*/{CONFIG}"))
        hint = f"toolkit verify {inner[0].parent.parent}" if inner else "toolkit build-repo"
        raise RepositoryError(f"{path} contains no models", hint=hint)
    models: dict[str, Model] = {}
    for folder in folders:
        # the same dictionary for all, so each sees those that are added later
        models[folder.name] = Model(folder, path, target, models)
    return models


def _is_model(folder: Path) -> bool:
    if folder.name.startswith(".") or not folder.is_dir():
        return False
    entries = list(folder.iterdir())
    return any(
        (each.is_dir() and each.name.isdigit())
        or (each.is_file() and (each.name in _WEIGHTS or each.name.startswith("config.pb")))
        for each in entries
    )


def guess_target(path: Path) -> str:
    """The target in `repository.json`, else the newest one that has all backends of the models."""
    manifest = path / MANIFEST
    if manifest.is_file():
        try:
            return str(json.loads(manifest.read_text())["target"])
        except (ValueError, KeyError, TypeError) as error:
            raise RepositoryError(
                f"{manifest} does not name a target", hint="pass --target"
            ) from error
    embedded = find_server("embedded")
    backends = {model.served.backend for model in read_models(path, embedded).values()}
    # an unknown backend may be a typing error, and does not decide the target
    elsewhere = backends & (KNOWN_BACKENDS | {"tensorflow"}) - embedded.backends
    if not elsewhere:
        return "embedded"
    images = [each for each in TARGETS.values() if each.release == RELEASES[-1].name]
    able = [each.name for each in images if elsewhere <= each.backends]
    return able[0] if able else images[0].name
