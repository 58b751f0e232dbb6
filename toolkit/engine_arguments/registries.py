"""Reads the names that vLLM registers from syntax trees: parsers of replies, and architectures.

It does not know what the names are used for.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_GENERATES = ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS")
_POOLS = (
    "_EMBEDDING_MODELS",
    "_LATE_INTERACTION_MODELS",
    "_REWARD_MODELS",
    "_TOKEN_CLASSIFICATION_MODELS",
    "_SEQUENCE_CLASSIFICATION_MODELS",
    "_CROSS_ENCODER_MODELS",
)
_BY_TRANSFORMERS = (
    "_TRANSFORMERS_SUPPORTED_MODELS",
    "_TRANSFORMERS_BACKEND_MODELS",
    "_TRANSFORMERS_MODELS",
)
_DROPPED = "_PREVIOUSLY_SUPPORTED_MODELS"
_ELSEWHERE = "_OOT_SUPPORTED_MODELS"


def read_architectures(tree: ast.Module) -> dict[str, Any]:
    """`generates` and `pools`: the classes of a config that vLLM loads to write text, and to turn
    text into numbers; `dropped`: those that it does not load any more → the last version that did.
    """
    tables = {name: list(keys) for name, keys, _ in _tables(tree)}
    others = [key for name in _BY_TRANSFORMERS for key in tables.get(name, ())]
    generates = {key for name in _GENERATES for key in tables.get(name, ())}
    generates |= {key for key in others if "Embedding" not in key and "Classification" not in key}
    pools = {key for name in _POOLS for key in tables.get(name, ())}
    dropped = {
        key: value if name == _DROPPED else ""
        for name, keys, values in _tables(tree)
        if name in {_DROPPED, _ELSEWHERE}
        for key, value in zip(keys, values, strict=True)
    }
    return {
        "generates": sorted(generates),
        "pools": sorted(pools - generates),
        "dropped": dict(sorted(dropped.items())),
    }


def _tables(tree: ast.Module) -> Iterator[tuple[str, list[str], list[Any]]]:
    """Each dict at the top of a module whose keys are texts: name, keys, values."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            target = statement.target if isinstance(statement, ast.AnnAssign) else None
            target = target or getattr(statement, "targets", [None])[0]
            if isinstance(target, ast.Name) and isinstance(statement.value, ast.Dict):
                pairs = [
                    (key.value, value.value if isinstance(value, ast.Constant) else None)
                    for key, value in zip(statement.value.keys, statement.value.values, strict=True)
                    if isinstance(key, ast.Constant) and isinstance(key.value, str)
                ]
                yield target.id, [key for key, _ in pairs], [value for _, value in pairs]


def read_parsers(trees: Iterable[ast.Module]) -> set[str]:
    """The names in a table of parsers, or in the decorators of older versions."""
    found: set[str] = set()
    for tree in trees:
        for name, keys, _ in _tables(tree):
            if name.endswith("_TO_REGISTER"):
                found |= set(keys)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for decorator in node.decorator_list:
                    found |= set(_registered(decorator))
    return found


def read_connectors(trees: Iterable[ast.Module]) -> set[str]:
    """The names in `….register_connector("Name", …)`."""
    calls = (each for tree in trees for each in ast.walk(tree) if isinstance(each, ast.Call))
    return {
        str(ast.literal_eval(call.args[0]))
        for call in calls
        if ast.unparse(call.func).endswith(".register_connector")
    }


def read_list(trees: Mapping[str, ast.Module], name: str) -> list[str]:
    """The texts of the first list of that name, in a module or a function."""
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return [str(each) for each in ast.literal_eval(node.value)]
    return []


def _registered(decorator: ast.expr) -> Iterator[str]:
    """`@…register_module("name")` or a list of names."""
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(".register_module"):
        for part in ast.walk(decorator):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value
