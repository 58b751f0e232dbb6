"""Finds the models that a Python model calls, by reading its source.

Business logic scripting names them in `pb_utils.InferenceRequest(model_name=…)`. If the name is
computed, every string of the file and of the config that is a model's name counts.
"""

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.verifier.model import Model

_CALL = "InferenceRequest"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of `target` at a line of `file`; not `sure` if the name is computed."""

    target: str
    file: Path
    line: int
    sure: bool = True


def calls(model: Model) -> Iterator[Call]:
    """Calls in all Python files of the served versions, one for each target and file."""
    if model.served.backend != "python":
        return
    parameters = {each.string_value for each in model.config.parameters.values()}
    for folder in model.served_versions.values():
        for file in sorted(folder.rglob("*.py")):
            targets: dict[str, Call] = {}
            for call in _calls(file, set(model.neighbours), parameters):
                targets.setdefault(call.target, call)
            yield from targets.values()


def _calls(file: Path, known: set[str], parameters: set[str]) -> Iterator[Call]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are not reported
            tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError):
        return  # `python-code` reports this
    values = _assigned(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) == _CALL:
            for keyword in node.keywords:
                if keyword.arg == "model_name":
                    names = _texts(keyword.value, values)
                    sure = bool(names)
                    # a computed name is most likely one of these texts
                    names = names or {*_constants(tree), *parameters}
                    for name in sorted(names & known):
                        yield Call(name, file, node.lineno, sure)


def _name(node: ast.expr) -> str:
    """The last part of `a.b.c`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _texts(node: ast.expr, values: Mapping[str, set[str]]) -> set[str]:
    """The strings that an expression may have as value; empty if they are unknown."""
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    if isinstance(node, ast.IfExp):
        return _texts(node.body, values) | _texts(node.orelse, values)
    if isinstance(node, ast.Name | ast.Attribute):
        return values.get(_name(node), set())
    return set()


def _assigned(tree: ast.Module) -> dict[str, set[str]]:
    """Names → the strings that are assigned to them anywhere in the file."""
    values: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            for target in targets:
                values.setdefault(_name(target), set()).add(value.value)
    return values


def _constants(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
