"""A schema split in two: what the engine's grammar holds, and what the check of the answer adds.

The grammar's schema allows every kind of value that the caller's allows, hardly anything else, and
has nothing that xgrammar 0.2.8 misreads: siblings of `$ref`, `anyOf` and `enum` (ignored there),
several schemas in `allOf` (any value), searching patterns (taken as whole strings), schemas that
differ only in properties called like annotations (taken for the same one).
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.schemas.canonical import Document
from frontend.schemas.containers import fit_array, fit_object, is_plain
from frontend.schemas.keywords import Schema, refusal, table
from frontend.schemas.merge import CHOICES, NEVER, Node, common, merge, types_of
from frontend.schemas.scalars import fit_number, fit_string, fit_values

_FAMILIES = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": (
        *("items", "prefixItems", "additionalItems", "unevaluatedItems", "minItems", "maxItems"),
        *("uniqueItems", "contains", "minContains", "maxContains"),
    ),
    "object": (
        *("properties", "required", "additionalProperties", "patternProperties"),
        *("unevaluatedProperties", "propertyNames", "minProperties", "maxProperties"),
        *("dependentRequired", "dependentSchemas", "dependencies"),
    ),
}
_CHECKED = ("not", "if")
_COMBINING = frozenset({"$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"})
_MISTAKEN = frozenset(
    {
        *("title", "default", "description", "examples", "deprecated"),
        *("readOnly", "writeOnly", "$comment", "$schema"),
    }
)
"""Properties of these names are overlooked where xgrammar compares schemas."""
_MOST_NODES = 20_000
_MOST_BYTES = 50_000
_MOST_MERGED = 32
_MOST_COMPARED = 200
_MOST_NOTES = 50


@dataclass(frozen=True, slots=True)
class Grammar:
    """`schema` is for the engine; `left_out` are the paths of the keywords that it lacks."""

    schema: dict[str, Any]
    left_out: tuple[str, ...]


def grammar_of(document: Document, path: str, *, enforced: bool) -> Grammar:
    """`enforced`: a schema without a valid value is refused with InvalidRequest.

    What is merged is written out wherever it is used; where that makes too much of it, nothing is.
    """
    made = _Fitting(document, path, enforced, _MOST_NODES, dict(document.paths)).whole()
    if len(orjson.dumps(made.schema)) > _MOST_BYTES + 2 * len(orjson.dumps(document.root)):
        return _Fitting(document, path, enforced, 0, dict(document.paths)).whole()
    return made


@dataclass(slots=True)
class _Fitting:
    document: Document
    path: str
    enforced: bool
    most_nodes: int
    _paths: dict[int, str]
    _notes: dict[str, None] = field(default_factory=dict)
    _definitions: dict[str, Node] = field(default_factory=dict)
    _wanted: list[tuple[str, Schema]] = field(default_factory=list)
    _nodes: int = 0
    _marks: int = 0
    _guesses: int = 0
    _expanding: list[Schema] = field(default_factory=list)
    _kept: list[Node] = field(default_factory=list)

    def whole(self) -> Grammar:
        schema = self._fit(self.document.root)
        if schema is None:
            if self.enforced:
                raise refusal(self.path, "allows no value at all")
            self.note(self.document.root, "schema")
            schema = {}
        while self._wanted:
            name, target = self._wanted.pop()
            made = self._fit(target)
            self._definitions[name] = {} if made is None else made
        if self._definitions:
            schema = {**schema, "$defs": self._definitions}
        return Grammar(schema, tuple(self._notes))

    def note(self, node: Node, keyword: str) -> None:
        if len(self._notes) < _MOST_NOTES:
            where = self._paths.get(id(node), self.path)
            self._notes[f"{where}.{keyword}"] = None

    def never(self, node: Node, keyword: str, problem: str) -> None:
        if self.enforced and not self._guesses:
            where = self._paths.get(id(node), self.path)
            raise refusal(f"{where}.{keyword}", problem)

    def _fit(self, schema: Schema) -> Node | None:
        """The grammar's schema, None when no value fits."""
        if not isinstance(schema, dict):
            return {} if schema else None
        self._nodes += 1
        if set(schema) == {"$ref"}:
            return self._refer(schema)
        if "$ref" in schema and self._nodes > self.most_nodes:
            self.note(schema, "$ref")
            return self._refer(schema)
        if set(schema) == {"allOf"} and len(schema["allOf"]) == 1:
            return self._fit(schema["allOf"][0])
        before = len(self._expanding)
        combined = bool(_COMBINING & set(schema))
        self._guesses += combined  # what contradicts itself need not be what the caller wrote
        try:
            node = self._flatten(schema)
            return self._choose(node, node.pop(CHOICES, []))
        except _Recursion as found:
            self.note(schema, "$ref" if "$ref" in schema else "allOf")
            return self._refer(found.reference)
        finally:
            self._guesses -= combined
            del self._expanding[before:]

    def _refer(self, schema: Node) -> Node:
        name = schema["$ref"].removeprefix("#/$defs/").replace("#", "root")
        if name not in self._definitions:
            self._definitions[name] = {}
            self._wanted.append((name, self.document.target(schema)))
        return {"$ref": f"#/$defs/{name}"}

    def _flatten(self, schema: Schema) -> Node:
        """`$ref` and `allOf` merged into the keywords beside them."""
        if not isinstance(schema, dict):
            return {} if schema else dict(NEVER)
        node = {name: value for name, value in schema.items() if name not in {*_COMBINING, "$defs"}}
        for keyword in _CHECKED:
            if keyword in schema:
                self.note(schema, keyword)
        self._settle_unevaluated(node, schema)
        groups = [(schema, name) for name in ("anyOf", "oneOf") if name in schema]
        if groups:
            node[CHOICES] = groups
        self._remember(node, schema)
        for source in self._sources(schema):
            node = merge(node, self._flatten(source), lambda keyword: self.note(schema, keyword))
            self._remember(node, schema)
        return node

    def _settle_unevaluated(self, node: Node, schema: Node) -> None:
        """Where nothing is combined they say what `additionalProperties` and `items` say.

        Lists in `items`, which are older, become `prefixItems`.
        """
        if isinstance(node.get("items"), list):
            node["prefixItems"] = node.pop("items")
            if "additionalItems" in node:
                node["items"] = node["additionalItems"]
        node.pop("additionalItems", None)
        alone = not _COMBINING & set(schema) and "contains" not in node
        for keyword, same in (
            ("unevaluatedProperties", "additionalProperties"),
            ("unevaluatedItems", "items"),
        ):
            given = node.pop(keyword, None)
            if given is not None and alone:
                node.setdefault(same, given)
            elif given is not None:
                self.note(schema, keyword)

    def _sources(self, schema: Node) -> list[Schema]:
        """What is merged into a schema. Raises _Recursion for one that is being written already."""
        sources = list(schema.get("allOf", ()))
        if "$ref" in schema:
            target = self.document.target(schema)
            if any(target is one for one in self._expanding):
                raise _Recursion(schema)
            self._expanding.append(target)
            sources.insert(0, target)
        self._nodes += len(sources)
        if sources and self._nodes > self.most_nodes:
            self.note(schema, "allOf")
            return []
        return sources

    def _remember(self, node: Node, schema: Node) -> None:
        self._kept.append(node)  # an `id()` must not be used twice
        self._paths[id(node)] = self._paths.get(id(schema), self.path)

    def _choose(self, node: Node, choices: list[tuple[Node, str]]) -> Node | None:
        """Each alternative with the keywords beside it, as far as that does not grow too large."""
        if not choices:
            return self._flat(node)
        (schema, keyword), rest = choices[0], choices[1:]
        arms = schema[keyword]
        if keyword == "oneOf" and not self._are_disjoint(arms):
            self.note(schema, keyword)
        alone = not rest and self._is_implied(node, arms)
        self._nodes += len(arms)
        if not alone and (len(arms) > _MOST_MERGED or self._nodes > self.most_nodes):
            self.note(schema, keyword)
            return self._choose(node, rest)
        self._guesses += 1
        made = [
            self._fit(arm) if alone else self._beside(node, arm, (schema, rest)) for arm in arms
        ]
        self._guesses -= 1
        found = _distinct(made)
        if not found:
            self.never(schema, keyword, "has no schema that the keywords beside it allow")
            return None
        if {} in found:
            return {}
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _beside(
        self, node: Node, arm: Schema, more: tuple[Node, list[tuple[Node, str]]]
    ) -> Node | None:
        schema, rest = more
        before = len(self._expanding)
        try:
            flat = self._flatten(arm)
        except _Recursion:  # then the alternative stands for itself
            self.note(schema, "anyOf" if "anyOf" in schema else "oneOf")
            del self._expanding[before:]
            return self._fit(arm)
        merged = merge(node, flat, lambda keyword: self.note(schema, keyword))
        self._remember(merged, schema)
        made = self._choose(merged, [*merged.pop(CHOICES, []), *rest])
        del self._expanding[before:]
        return made

    def _is_implied(self, node: Node, arms: list[Schema]) -> bool:
        """Whether the alternatives of a schema already contain everything that it requires."""
        if not node:
            return True
        if set(node) != {"type"}:
            return False
        allowed = {*types_of(node["type"])}
        found = [self._glance(arm).get("type") for arm in arms]
        return all(one is not None and {*types_of(one)} <= allowed for one in found)

    def _are_disjoint(self, arms: list[Schema]) -> bool:
        """Whether a value that fits one of `oneOf` cannot fit another: by type, or by a tag."""
        seen = [self._glance(arm) for arm in arms]
        return len(arms) <= _MOST_COMPARED and all(
            _differ(one, other) for number, one in enumerate(seen) for other in seen[:number]
        )

    def _glance(self, arm: Schema) -> Node:
        """A schema behind its reference, unmerged."""
        for _ in range(_MOST_COMPARED):
            if not isinstance(arm, dict) or "$ref" not in arm:
                break
            arm = self.document.target(arm)
        return arm if isinstance(arm, dict) else {}

    def _flat(self, node: Node) -> Node | None:
        if "enum" in node or "const" in node:
            made = fit_values(node, self)
            return made if made is None else self._mark(made, ("enum", "const"))
        kinds = types_of(node["type"]) if "type" in node else _implied_types(node)
        if "type" not in node and not kinds:
            return {}
        if "number" in kinds:
            kinds = [kind for kind in kinds if kind != "integer"]
        found = [one for kind in kinds if (one := self._typed(node, kind)) is not None]
        if len(found) < 2:
            return found[0] if found else None
        if all(set(one) == {"type"} for one in found):
            return {"type": [one["type"] for one in found]}
        return {"anyOf": found}

    def _typed(self, node: Node, kind: str) -> Node | None:
        if kind == "string":
            return fit_string(node, self)
        if kind in ("number", "integer"):
            return fit_number(node, kind, self)
        if kind == "array":
            return fit_array(node, self._fit, self)
        if kind == "object":
            made = fit_object(node, self._fit, self)
            return made if made is None else self._mark(made, ("properties",))
        return {"type": kind}

    def _mark(self, made: Node, keywords: tuple[str, ...]) -> Node:
        """Makes a schema differ from all others, where xgrammar would take it for another one."""
        if any(_is_mistaken(made.get(keyword)) for keyword in keywords):
            self._marks += 1
            made["x-mark"] = self._marks
        return made


def _distinct(made: list[Node | None]) -> list[Node]:
    found: list[Node] = []
    for one in made:
        if one is not None and one not in found:
            found.append(one)
    return found


class _Recursion(Exception):
    """A schema that is to be merged into a part of itself."""

    def __init__(self, reference: Node) -> None:
        super().__init__()
        self.reference = reference


def _implied_types(node: Node) -> list[str]:
    """A keyword that is meant for one type alone is taken to mean that type."""
    found = [kind for kind, keywords in _FAMILIES.items() if any(k in node for k in keywords)]
    return found if len(found) < 2 else [*_FAMILIES, "boolean", "null"]


def _differ(first: Node, second: Node) -> bool:
    if "type" in first and "type" in second:
        one, other = ({*types_of(side["type"])} for side in (first, second))
        numbers = {"integer", "number"}
        if not one & other and not (one & numbers and other & numbers):
            return True
    return any(
        not common(_tags(first, name), _tags(second, name))
        for name in {*first.get("required", ())} & {*second.get("required", ())}
        if _tags(first, name) and _tags(second, name)
    )


def _tags(node: Node, name: str) -> list[Any]:
    told = table(table(node.get("properties")).get(name))
    return [told["const"]] if "const" in told else list(told.get("enum", ()))


def _is_mistaken(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_mistaken, value))
    if not isinstance(value, dict):
        return False
    return any(not is_plain(name) or name in _MISTAKEN for name in value) or any(
        map(_is_mistaken, value.values())
    )
