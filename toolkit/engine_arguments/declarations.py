"""How vLLM declares its engine's arguments: types with their choices, ranges, nested settings.

Read from syntax trees. A type is written out as Python writes it, its aliases resolved: `int`,
`None`, `Literal['auto', 'half']`, `list[str]`, a union with `|`, the name of a class of settings,
`Enum['NAME', …]` for the names and numbers of an enum, and `Any` for what is not known. It does
not know how values are checked (`values`).
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from toolkit.engine_arguments.statements import (
    annotated,
    bounds_of,
    command_line_options,
    is_internal,
    origin_of,
    rewritten_fields,
)

Declared = str | dict[str, Any]
"""A type, or `{"type": …, "ge": …}` where a range is declared, too."""
_PLAIN = {"bool", "int", "float", "str", "None", "Any"}
_CONTAINERS = {"list": "list", "List": "list", "set": "set", "Set": "set"}
_MAPPINGS = {"dict", "Dict"}
_UNCHECKED = {"SkipValidation", "InitVar", "Annotated"}
_IN_CODE = {
    "gpu_memory_utilization": {"gt": 0, "le": 1},
    "max_num_batched_tokens": {"ge": 1},
    "max_num_seqs": {"ge": 1},
    "tensor_parallel_size": {"ge": 1},
    "pipeline_parallel_size": {"ge": 1},
    "data_parallel_size": {"ge": 1},
    "max_loras": {"ge": 1},
    "max_cpu_loras": {"ge": 1},
    "max_logprobs": {"ge": -1},
    "swap_space": {"ge": 0},
    "cpu_offload_gb": {"ge": 0},
    "kv_cache_memory_bytes": {"gt": 0},
    "num_gpu_blocks_override": {"ge": 1},
    "master_port": {"ge": 1, "le": 65535},
}
"""Ranges that some versions check in code only, where a syntax tree does not show them."""
_SETTINGS_AS_DICT = {"speculative_config": "SpeculativeConfig"}
"""Arguments that are annotated as any dict, and the class that vLLM builds from it."""


class Declarations:
    """The aliases, enums and classes of settings in a version's modules."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self._aliases: dict[str, ast.expr] = {}
        self._classes: dict[str, ast.ClassDef] = {}
        for tree in trees:
            for node in tree.body:
                self._collect(node)

    def _collect(self, node: ast.stmt) -> None:
        if isinstance(node, ast.ClassDef):
            self._classes.setdefault(node.name, node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            self._aliases.setdefault(node.targets[0].id, node.value)
        elif (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and ast.unparse(node.annotation) == "TypeAlias"
            and node.value is not None
        ):
            self._aliases.setdefault(node.target.id, node.value)

    def resolve(self, annotation: ast.expr) -> str:
        """The type, written out; parts of a union that are never in a file are left out."""
        parts = dict.fromkeys(self._parts(annotation))
        if "Any" in parts:
            return "Any"
        choices = [part[8:-1] for part in parts if part.startswith("Literal[")]
        others = [part for part in parts if not part.startswith("Literal[")]
        return " | ".join([f"Literal[{', '.join(choices)}]"] * bool(choices) + others)

    def _parts(self, node: ast.expr) -> Iterator[str]:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):  # a type in quotes
                yield from self._parts(ast.parse(node.value, mode="eval").body)
            else:
                yield "None" if node.value is None else "Any"
        elif isinstance(node, ast.BinOp):
            yield from self._parts(node.left)
            yield from self._parts(node.right)
        elif isinstance(node, ast.Subscript):
            yield from self._subscript(node)
        elif isinstance(node, ast.Name):
            yield from self._named(node.id)
        elif not (isinstance(node, ast.Attribute) and node.attr == "dtype"):
            yield "Any"

    def _named(self, name: str) -> Iterator[str]:
        if name in _PLAIN or name in _MAPPINGS:
            yield name.lower() if name in _MAPPINGS else name
        elif name in _CONTAINERS:
            yield _CONTAINERS[name]
        elif name in self._classes:
            yield self._members(name) or (name if self._is_settings(name) else "Any")
        elif name in self._aliases and not isinstance(self._aliases[name], ast.Call):
            yield from self._parts(self._aliases[name])
        else:
            yield "Any"

    def _subscript(self, node: ast.Subscript) -> Iterator[str]:
        outer = ast.unparse(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer == "Literal":
            for choice in self._choices(inner):
                yield f"Literal[{choice!r}]"
        elif outer in {"Optional", "Union"}:
            for part in inner:
                yield from self._parts(part)
            if outer == "Optional":
                yield "None"
        elif outer in _CONTAINERS:
            yield f"{_CONTAINERS[outer]}[{self.resolve(inner[0])}]"
        elif outer in {"tuple", "Tuple"}:
            yield f"list[{self.resolve(inner[0])}]"
        elif outer in _MAPPINGS:
            yield f"dict[{', '.join(self.resolve(part) for part in inner)}]"
        elif outer in _UNCHECKED:
            yield from self._parts(inner[0])
        elif outer not in {"type", "Type", "Callable"}:
            yield "Any"

    def _choices(self, nodes: Iterable[ast.expr]) -> Iterator[object]:
        for node in nodes:
            if isinstance(node, ast.Constant):
                yield node.value
            elif isinstance(node, ast.Name) and node.id in self._aliases:
                alias = self._aliases[node.id]
                if isinstance(alias, ast.Subscript):
                    inner = alias.slice
                    yield from self._choices(
                        inner.elts if isinstance(inner, ast.Tuple) else [inner]
                    )

    def _members(self, name: str) -> str | None:
        """An enum's names, and the numbers that stand for them."""
        node = self._classes[name]
        if not any("Enum" in ast.unparse(base) for base in node.bases):
            return None
        members: list[object] = []
        for statement in node.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                members.append(statement.targets[0].id)
                value = getattr(statement.value, "value", None)
                if isinstance(value, int) or (isinstance(value, str) and value.isidentifier()):
                    members.append(value)
        return f"Enum[{', '.join(map(repr, dict.fromkeys(members)))}]"

    def _is_settings(self, name: str) -> bool:
        """Whether a class is plain settings, which are built from their fields as written."""
        node = self._classes[name]
        decorated = any("config" in ast.unparse(each) for each in node.decorator_list)
        decorated |= any("dataclass" in ast.unparse(each) for each in node.decorator_list)
        return decorated and not any(
            "model_validator" in ast.unparse(each) and "after" not in ast.unparse(each)
            for item in node.body
            if isinstance(item, ast.FunctionDef)
            for each in item.decorator_list
        )

    def rewritten(self, name: str) -> set[str]:
        """The fields of a class whose values vLLM rewrites before it checks them."""
        return set(rewritten_fields(self._classes[name])) if name in self._classes else set()

    def owner_of(self, field: str) -> str:
        """The one class of settings with a range for that field; "" if it is not clear which."""
        owners = [
            name
            for name, node in self._classes.items()
            if name.endswith("Config")
            and any(each == field and bounds_of(value) for each, _, value in annotated(node))
        ]
        return owners[0] if len(owners) == 1 else ""

    def fields(self, name: str) -> dict[str, Declared]:
        """Name → what is declared, of a class of settings."""
        node = self._classes.get(name)
        if node is None:
            return {}
        rewritten = self.rewritten(name)
        found: dict[str, Declared] = {}
        for base in node.bases:
            found |= self.fields(ast.unparse(base))
        for field, annotation, default in annotated(node):
            if "ClassVar" in ast.unparse(annotation) or is_internal(default):
                continue
            kind = "Any" if field in rewritten else self.resolve(annotation)
            skipped = "SkipValidation" in ast.unparse(annotation)
            found[field] = _declared(kind, {} if skipped else bounds_of(default))
        return found

    def classes_of(self, declared: Iterable[Declared]) -> dict[str, dict[str, Declared]]:
        """The classes of settings that those types name, and the classes that they name."""
        found: dict[str, dict[str, Declared]] = {}
        left = list(declared)
        while left:
            one = left.pop()
            kind = one if isinstance(one, str) else one["type"]
            for node in ast.walk(ast.parse(kind, mode="eval")):
                name = node.id if isinstance(node, ast.Name) else ""
                if name in self._classes and name not in found:
                    found[name] = self.fields(name)
                    left += found[name].values()
        return dict(sorted(found.items()))


def read_arguments(tree: ast.Module, declarations: Declarations) -> dict[str, Declared]:
    """Argument → what is declared, of AsyncEngineArgs and its base. Raises ValueError if there are
    none.

    vLLM hands an argument on to a class of settings, where its range and often its choices are.
    """
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, Declared] = {}
    for name in ("EngineArgs", "AsyncEngineArgs"):
        if name not in classes:
            raise ValueError(f"there is no class {name}")
        options = dict(command_line_options(classes[name]))
        for argument, annotation, default in annotated(classes[name]):
            if argument.startswith("_") or "ClassVar" in ast.unparse(annotation):
                continue
            kind = declarations.resolve(annotation)
            owner, field = origin_of(default) or options.get(argument, ("", ""))
            if not owner:
                owner, field = declarations.owner_of(argument), argument
            if argument in _SETTINGS_AS_DICT:
                kind = declarations.resolve(ast.Name(_SETTINGS_AS_DICT[argument])) + " | None"
            found[argument] = _joined(argument, kind, declarations.fields(owner).get(field, "Any"))
            if field in declarations.rewritten(owner):
                found[argument] = _any_spelling(found[argument])
    return dict(sorted(found.items()))


def _any_spelling(declared: Declared) -> Declared:
    """Choices whose spelling vLLM unifies first: `flashinfer-cutlass`, `TRITON`."""
    if isinstance(declared, str):
        return declared.replace("Literal[", "Enum[")
    return declared


def _joined(argument: str, kind: str, inner: Declared) -> Declared:
    """The argument's own type, narrowed to the choices and with the range of the inner field."""
    bounds = {} if isinstance(inner, str) else {k: v for k, v in inner.items() if k != "type"}
    within = inner if isinstance(inner, str) else str(inner["type"])
    if set(kind.split(" | ")) <= {"str", "None"} and within.startswith("Literal["):
        kind = within if "None" in within or "None" not in kind else f"{within} | None"
    numeric = set(kind.split(" | ")) <= {"int", "float", "None"}
    return _declared(kind, (bounds or _IN_CODE.get(argument, {})) if numeric else {})


def _declared(kind: str, bounds: Mapping[str, float]) -> Declared:
    return {"type": kind, **bounds} if bounds else kind
