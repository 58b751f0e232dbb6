"""Reads how vLLM declares its engine's arguments: types, choices, ranges, nested settings.

Read from syntax trees. A type is written out as Python writes it, its aliases resolved: `int`,
`None`, `Literal['auto', 'half']`, `list[str]`, a union with `|`, the name of a class of settings,
`Enum['NAME', …]` for choices in upper or lower case, `Names['a_b', …]` for those in which `-` may
stand for `_`, too, and `Any` for what is not known. It does not know how values are checked
(`values`).
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from toolkit.engine_arguments.statements import (
    annotated,
    bounds_of,
    is_internal,
    is_required,
    is_table,
    removes_keys,
)
from toolkit.engine_arguments.validators import Validator, validators_of

Declared = str | dict[str, Any]
"""A type, or `{"type": …, "ge": …}` where a range is declared, too."""
_PLAIN = {"bool", "int", "float", "str", "None", "Any"}
_CONTAINERS = {"list": "list", "List": "list", "set": "set", "Set": "set"}
_MAPPINGS = {"dict", "Dict"}
_UNCHECKED = {"SkipValidation", "InitVar", "Annotated"}
_NAMED_IN = {
    "QuantKeyField": ("QUANT_KEY_NAMES",),
    "QuantizationConfigArgs.linear": ("QUANT_KEY_NAMES", "_ONLINE_SHORTHANDS"),
    "QuantizationConfigArgs.moe": ("QUANT_KEY_NAMES", "_ONLINE_SHORTHANDS"),
}
"""Types and fields for which a text is looked up in tables of the same module."""
_LIMITS = {"image": "ImageDummyOptions", "video": "VideoDummyOptions", "audio": "AudioDummyOptions"}
"""The classes that vLLM builds from the values of `limit_mm_per_prompt`, or from a number alone."""


LIMITS = "MultiModalDummyOptions"
CHOICES = ("Literal[", "Enum[", "Names[")


class Declarations:
    """The aliases, enums and classes of settings in a version's modules."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self._aliases: dict[str, ast.expr] = {}
        self._classes: dict[str, ast.ClassDef] = {}
        self._tables: dict[str, list[str]] = {}
        for tree in trees:
            for node in tree.body:
                self._collect(node)

    def _collect(self, node: ast.stmt) -> None:
        if isinstance(node, ast.ClassDef):
            self._classes.setdefault(node.name, node)
        elif table := is_table(node):
            self._tables.setdefault(*table)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            self._aliases.setdefault(node.targets[0].id, node.value)
        elif (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and ast.unparse(node.annotation) == "TypeAlias"
            and node.value is not None
        ):
            self._aliases.setdefault(node.target.id, node.value)

    def resolve(self, annotation: ast.expr, *, by_name: bool = False) -> str:
        """The type, written out; parts of a union that are never in a file are left out.

        `by_name`: the members of an enum are given by name, not by value.
        """
        parts = dict.fromkeys(self._parts(annotation, by_name))
        if "Any" in parts:
            return "Any"
        choices = [part[8:-1] for part in parts if part.startswith("Literal[")]
        others = [part for part in parts if not part.startswith("Literal[")]
        return " | ".join([f"Literal[{', '.join(choices)}]"] * bool(choices) + others)

    def _parts(self, node: ast.expr, by_name: bool) -> Iterator[str]:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):  # a type in quotes
                yield from self._parts(ast.parse(node.value, mode="eval").body, by_name)
            else:
                yield "None" if node.value is None else "Any"
        elif isinstance(node, ast.BinOp):
            yield from self._parts(node.left, by_name)
            yield from self._parts(node.right, by_name)
        elif isinstance(node, ast.Subscript):
            yield from self._subscript(node, by_name)
        elif isinstance(node, ast.Name):
            yield from self._named(node.id, by_name)
        elif not (isinstance(node, ast.Attribute) and node.attr == "dtype"):
            yield "Any"

    def _named(self, name: str, by_name: bool) -> Iterator[str]:
        if name in _NAMED_IN:
            yield self._words_of(name)
            yield "None"
        elif name in _PLAIN or name in _MAPPINGS:
            yield name.lower() if name in _MAPPINGS else name
        elif name in _CONTAINERS:
            yield _CONTAINERS[name]
        elif name in self._classes:
            yield self._members(name, by_name) or (name if self._is_settings(name) else "Any")
        elif name in self._aliases and not isinstance(self._aliases[name], ast.Call):
            yield from self._parts(self._aliases[name], by_name)
        else:
            yield "Any"

    def _subscript(self, node: ast.Subscript, by_name: bool) -> Iterator[str]:
        outer = ast.unparse(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer == "Literal":
            for choice in self._choices(inner):
                yield f"Literal[{choice!r}]"
        elif outer in {"Optional", "Union"}:
            for part in inner:
                yield from self._parts(part, by_name)
            if outer == "Optional":
                yield "None"
        elif outer in _CONTAINERS:
            yield f"{_CONTAINERS[outer]}[{self.resolve(inner[0], by_name=by_name)}]"
        elif outer in {"tuple", "Tuple"}:
            yield f"list[{self.resolve(inner[0], by_name=by_name)}]"
        elif outer in _MAPPINGS:
            yield f"dict[{', '.join(self.resolve(part, by_name=by_name) for part in inner)}]"
        elif outer in _UNCHECKED:
            yield from self._parts(inner[0], by_name)
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

    def _members(self, name: str, by_name: bool) -> str | None:
        """The values of an enum; `by_name`: its names, and the numbers that stand for them."""
        node = self._classes[name]
        if not any("Enum" in ast.unparse(base) for base in node.bases):
            return None
        members: list[object] = []
        for statement in node.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                value = getattr(statement.value, "value", None)
                if by_name:
                    members.append(statement.targets[0].id)
                if isinstance(value, int) or (isinstance(value, str) and not by_name):
                    members.append(value)
        listed = ", ".join(map(repr, dict.fromkeys(members)))
        return f"{'Enum' if by_name else 'Literal'}[{listed}]" if members else "Any"

    def _words_of(self, name: str) -> str:
        words = [word for table in _NAMED_IN[name] for word in self._tables.get(table, ())]
        return f"Literal[{', '.join(map(repr, dict.fromkeys(words)))}]" if words else "str"

    def _is_settings(self, name: str) -> bool:
        """Whether a class is plain settings, which are built from their fields as written."""
        node = self._classes[name]
        decorated = any("config" in ast.unparse(each) for each in node.decorator_list)
        decorated |= any("dataclass" in ast.unparse(each) for each in node.decorator_list)
        return decorated and not any(
            "model_validator" in ast.unparse(each)
            and "after" not in ast.unparse(each)
            and removes_keys(item)
            for item in node.body
            if isinstance(item, ast.FunctionDef)
            for each in item.decorator_list
        )

    def validators(self, name: str) -> dict[str, Validator]:
        """Field → what the validators of a class do with its value."""
        return validators_of(self._classes[name]) if name in self._classes else {}

    def validator_of(self, owner: str, field: str) -> Validator | None:
        """The validator of a field; one that a class only passes on is checked in another class."""
        of_owner = self.validators(owner).get(field)
        passed_on = (self.validators(name).get(field) for name in self._classes)
        return of_owner or next((each for each in passed_on if each and field != "backend"), None)

    def checked(self, annotation: ast.expr, validator: Validator | None) -> str:
        """The type of a field, widened by what its validator accepts."""
        if validator is None:
            return self.resolve(annotation)
        if validator.keys in self._classes and (keys := self._members(validator.keys, False)):
            return self.resolve(annotation, by_name=True).replace("dict[str,", f"dict[{keys},")
        kind = self.resolve(annotation, by_name=validator.any_case)
        named = any(name in self._classes for name in kind.split(" | "))
        return validator.applied(kind, is_settings=named)

    def _limits(self) -> dict[str, Declared]:
        kinds = {each: f"int | {name}" for each, name in _LIMITS.items() if name in self._classes}
        return {each: with_bounds(kind, {"ge": 0}) for each, kind in kinds.items()} | {"*": "Any"}

    def owner_of(self, field: str) -> str:
        """The only class of settings with a range for that field; "" if there are several."""
        owners = [
            name
            for name, node in self._classes.items()
            if name.endswith("Config")
            and any(each == field and bounds_of(value) for each, _, value in annotated(node))
        ]
        return owners[0] if len(owners) == 1 else ""

    def fields(self, name: str) -> dict[str, Declared]:
        """The declared fields of a class of settings, by name."""
        node = self._classes.get(name)
        if node is None:
            return {}
        validators = self.validators(name)
        found: dict[str, Declared] = {}
        for base in node.bases:
            found |= self.fields(ast.unparse(base))
        for field, annotation, default in annotated(node):
            if "ClassVar" in ast.unparse(annotation) or is_internal(default):
                continue
            kind = self.checked(annotation, validators.get(field, validators.get("*")))
            if f"{name}.{field}" in _NAMED_IN:
                kind = kind.replace("str", self._words_of(f"{name}.{field}"))
            skipped = "SkipValidation" in ast.unparse(annotation)
            bounds = {} if skipped else bounds_of(default)
            found[field] = with_bounds(
                kind, bounds | ({"required": True} if is_required(default) else {})
            )
        return found

    def choices_of(self, alias: str) -> list[object]:
        """The choices of an alias; empty if this version does not have it."""
        return list(self._choices([ast.Name(alias)])) if alias in self._aliases else []

    def knows(self, name: str) -> bool:
        """Whether a class of that name exists."""
        return name in self._classes

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
                    found[name] = self.fields(name) if name != LIMITS else self._limits()
                    left += found[name].values()
        return dict(sorted(found.items()))


def with_bounds(kind: str, bounds: Mapping[str, float]) -> Declared:
    """A type with its range, if it has one."""
    return {"type": kind, **bounds} if bounds else kind
