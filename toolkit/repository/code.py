"""Checks that the copies of python_backends in a repository fit each other and this release.

Git tracks each `model.py` but ignores the modules next to it, so after a pull the two can come from
different releases. Reads files only.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from toolkit.backends import PACKAGE, backend_files, backends, code_digest

_MANIFEST = "repository.json"


def broken_imports(version: Path) -> list[str]:
    """A sentence for each import of a step's code that its own copy does not contain. Empty for a
    folder without copied code, and for the code of this release."""
    if not (version / "model.py").is_file() or _is_current(version):
        return []
    files = [version / "model.py", *sorted((version / PACKAGE).rglob("*.py"))]
    return [sentence for file in files for sentence in _broken(file, version)]


def outdated_steps(repository: Path) -> list[str]:
    """Steps whose code in `repository.json` is not that of this release; others are not judged."""
    recorded = _recorded(repository / _MANIFEST)
    return [step for step in recorded if _differs(repository / step, recorded[step])]


def is_outdated(repository: Path, step: str) -> bool:
    """Whether `outdated_steps` has this step."""
    digest = _recorded(repository / _MANIFEST).get(step)
    return digest is not None and _differs(repository / step, digest)


def _differs(model: Path, digest: str) -> bool:
    return any(code_digest(backend) != digest for backend in _copied(model / "1"))


def _copied(version: Path) -> list[str]:
    """The backends whose folder a version holds a copy of."""
    return [name for name in backends() if (version / PACKAGE / name).is_dir()]


def _is_current(version: Path) -> bool:
    return any(
        all(
            (version / place).is_file() and (version / place).read_bytes() == source.read_bytes()
            for place, source in backend_files(backend).items()
        )
        for backend in _copied(version)
    )


def _broken(file: Path, version: Path) -> Iterator[str]:
    shown = file.relative_to(version)
    for node in ast.walk(_tree(file)):
        if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
            continue
        package, _, module = node.module.partition(".")
        if package != PACKAGE:
            continue
        folder = version / PACKAGE / module.replace(".", "/")
        source = folder.with_suffix(".py")
        if source.is_file():
            defined = set(_defined(_tree(source)))
        elif folder.is_dir():
            defined = {each.stem for each in folder.iterdir()}
        else:
            yield f"{shown} imports {node.module}, which does not exist"
            continue
        for name in sorted({alias.name for alias in node.names} - defined - {"*"}):
            yield f"{shown} imports '{name}' from {node.module}, which does not define it"


def _defined(tree: ast.Module) -> Iterator[str]:
    """Every name that a module binds anywhere: too many, never too few."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)


def _tree(file: Path) -> ast.Module:
    # other rules report code that does not parse
    with suppress(SyntaxError, ValueError):
        return ast.parse(file.read_bytes())
    return ast.Module([], [])


def _recorded(manifest: Path) -> Mapping[str, str]:
    """Each step's digest."""
    with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
        models = json.loads(manifest.read_bytes())["models"].values()
        return {step: str(text) for one in models for step, text in one.get("code", {}).items()}
    return {}
