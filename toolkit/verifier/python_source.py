"""Finds what a `model.py` defines, without running it.

A name that is imported with `*` or created dynamically counts as defined.
"""

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

CLASS = "TritonPythonModel"


Method: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """`error` is the syntax error, if any. `model` is the class if this file defines it.

    `imports` are top-level packages with the line of their import, outside of `try` and `if`.
    """

    error: SyntaxError | None = None
    model: ast.ClassDef | None = None
    imported: bool = False
    near: ast.ClassDef | None = None
    imports: tuple[tuple[str, int], ...] = ()

    def method(self, name: str) -> Method | None:
        """The method of that name, if the class itself defines it."""
        for node in self.model.body if self.model else []:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return node
        return None

    @property
    def inherits(self) -> bool:
        """Whether methods may be inherited or added."""
        model = self.model
        return model is None or bool(model.bases or model.keywords or model.decorator_list)


def read_source(path: Path) -> Source:
    """Parses one file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are not reported
            tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        return Source(error=error)
    except ValueError as error:  # null bytes
        return Source(error=SyntaxError(str(error)))
    # at any depth: the class may be below an `if` or `try`
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    model = next((each for each in classes if each.name == CLASS), None)
    near = next((each for each in classes if _resembles(each)), None)
    imported = model is None and _mentions(tree)
    return Source(model=model, imported=imported, near=near, imports=tuple(_imports(tree)))


def defines(path: Path, method: str) -> bool:
    """Whether the model's class has or may inherit the method; True if the file cannot be read."""
    if not path.is_file():
        return True
    source = read_source(path)
    if source.error or source.model is None:
        return True
    return source.inherits or source.method(method) is not None


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    nodes = ast.walk(tree)
    if any(isinstance(node, ast.Attribute) and node.attr == "path" for node in nodes):
        return  # the file may change sys.path
    # top level only: an import in a function or `try` need not run
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            yield name.partition(".")[0], node.lineno


def _resembles(node: ast.ClassDef) -> bool:
    methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    return "execute" in methods or node.name.lower() == CLASS.lower()


def _mentions(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and {a.name for a in node.names} & {"*", CLASS}:
            return True
        if isinstance(node, ast.alias) and node.asname == CLASS:
            return True
        if isinstance(node, ast.Name) and node.id == CLASS and isinstance(node.ctx, ast.Store):
            return True
    return False
