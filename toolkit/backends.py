"""Finds the code that runs inside Triton's Python backend, as files on disk.

It is found without being imported: `toolkit` and `python_backends` are independent packages, and a
model repository gets copies. A step's `model.py` is in the version folder of its model; what it
imports is next to it in `python_backends/`, so that imports are the same in both places.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from toolkit.errors import SetupError

PACKAGE = "python_backends"


@cache
def backends_folder() -> Path:
    """The folder of python_backends. Raises SetupError when the package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            f"the package {PACKAGE} is not installed",
            hint=f"{sys.executable} -m pip install --force-reinstall --no-deps triton-toolkit",
        )
    return Path(spec.submodule_search_locations[0])


def backends() -> tuple[str, ...]:
    """The names of all backends: the folders with a `model.py`."""
    return tuple(sorted(path.parent.name for path in backends_folder().glob("*/model.py")))


def backend_files(backend: str) -> dict[str, Path]:
    """The files to copy into a version's folder: relative destination → source file.

    The backend's own folder, and of the shared modules those that it imports, directly or through
    another. Raises KeyError when there is no such backend.
    """
    root = backends_folder()
    if not (root / backend / "model.py").is_file():
        raise KeyError(backend)
    own = [path for path in sorted((root / backend).glob("*.py")) if path.name != "__init__.py"]
    sources = {path.relative_to(root).as_posix(): path for path in own}
    pending = list(own)
    while pending:
        for name in _imported(pending.pop()):
            path = root / f"{name}.py"
            if name not in sources and path.is_file():
                sources[name] = path
                pending.append(path)
    files = {"model.py": root / backend / "model.py"}
    for path in sorted(sources.values()):
        if path != files["model.py"]:
            files[f"{PACKAGE}/{path.relative_to(root).as_posix()}"] = path
    return files


@cache
def code_digest(backend: str) -> str:
    """SHA-256 over path, length and bytes of each file to copy, in order."""
    total = hashlib.sha256()
    for place, source in sorted(backend_files(backend).items()):
        content = source.read_bytes()
        # with lengths, so that bytes cannot move from one file to the next unnoticed
        total.update(f"{place}\0{len(content)}\0".encode() + content)
    return f"sha256:{total.hexdigest()}"


def load_served(file: str) -> ModuleType:
    """Runs a file of a backend, such as `tokenize/texts.py`, from where it is on disk.

    Conversions compare their results through the code that will serve them. What the file itself
    imports is found on `sys.path`, as inside Triton. Raises FileNotFoundError if there is no such
    file.
    """
    path = backends_folder() / file
    name = "served_" + file.removesuffix(".py").replace("/", "_")
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


@cache  # a repository has a file in many steps, and parsing it takes milliseconds
def _imported(path: Path) -> tuple[str, ...]:
    """Modules of the package that a file imports, as `errors` or `prompt/rendering`."""
    return tuple(_imports(ast.parse(path.read_text(encoding="utf-8"))))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            package, _, module = node.module.partition(".")
            if package == PACKAGE:
                names = [module] if module else [alias.name for alias in node.names]
                yield from (name.replace(".", "/") for name in names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package, _, module = alias.name.partition(".")
                if package == PACKAGE and module:
                    yield module.replace(".", "/")
