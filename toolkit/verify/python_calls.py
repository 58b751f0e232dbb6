"""Which other models a Python model calls while it executes, read from its source.

Business logic scripting names them in `pb_utils.InferenceRequest(model_name=…)`. A name that is
computed is looked for among the texts of the file and of the config.
"""

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.verify.model import Model

_CALL = "InferenceRequest"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of `target` at a line of `file`; not `sure` where the name is computed."""

    target: str
    file: Path
    line: int
    sure: bool = True


def calls(model: Model) -> Iterator[Call]:
    """Calls in every Python file of the served versions, once for each target and file."""
    if model.served.backend != "python":
        return
    said = {each.string_value for each in model.config.parameters.values()}
    for folder in model.served_versions.values():
        for file in sorted(folder.rglob("*.py")):
            found: dict[str, Call] = {}
            for call in _calls(file, set(model.neighbours), said):
                found.setdefault(call.target, call)
            yield from found.values()


def _calls(file: Path, known: set[str], said: set[str]) -> Iterator[Call]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are not our subject
            tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError):
        return  # `python-code` says so
    values = _assigned(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) == _CALL:
            for keyword in node.keywords:
                if keyword.arg == "model_name":
                    names = _texts(keyword.value, values)
                    sure = bool(names)
                    names = names or {*_constants(tree), *said}
                    for name in sorted(names & known):
                        yield Call(name, file, node.lineno, sure)


def _name(node: ast.expr) -> str:
    """The last part of `a.b.c`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _texts(node: ast.expr, values: Mapping[str, set[str]]) -> set[str]:
    """Every text that an expression may be; empty where that cannot be read."""
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    if isinstance(node, ast.IfExp):
        return _texts(node.body, values) | _texts(node.orelse, values)
    if isinstance(node, ast.Name | ast.Attribute):
        return values.get(_name(node), set())
    return set()


def _assigned(tree: ast.Module) -> dict[str, set[str]]:
    """Names → the texts that are assigned to them anywhere in the file."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            for target in targets:
                found.setdefault(_name(target), set()).add(value.value)
    return found


def _constants(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
