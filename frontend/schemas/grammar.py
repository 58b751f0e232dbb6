"""A schema in two parts: what the engine's grammar enforces, and what the answer's check adds.

The grammar's schema allows every value that the caller's allows, and few others. It contains
nothing that xgrammar 0.2.8 misreads: siblings of `$ref`, `anyOf` and `enum` (ignored there),
several schemas in `allOf` (any value), searching patterns (taken as whole strings), schemas that
differ only in properties named like annotations (taken for the same one).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.schemas.canonical import Document
from frontend.schemas.compare import are_disjoint, imply, is_confused, types_in
from frontend.schemas.containers import convert_array, convert_object
from frontend.schemas.flatten import COMBINING, Flattener, Recursion
from frontend.schemas.keywords import Schema, refusal
from frontend.schemas.merge import CHOICES, Node
from frontend.schemas.notes import Notes
from frontend.schemas.scalars import convert_number, convert_string, convert_values

_MAX_NODES = 20_000
_MAX_BYTES = 50_000
_MAX_MERGED = 32


@dataclass(frozen=True, slots=True)
class Grammar:
    """`schema` is for the engine; `left_out` are the paths of the keywords that it lacks."""

    schema: dict[str, Any]
    left_out: tuple[str, ...]


def grammar_of(document: Document, path: str, *, enforced: bool) -> Grammar:
    """`enforced`: a schema without a valid value is refused with InvalidRequest."""
    grammar = _convert(document, path, enforced, _MAX_NODES)
    # merging writes out what is referred to; at this size references stay, and more is allowed
    if len(orjson.dumps(grammar.schema)) > _MAX_BYTES + 2 * len(orjson.dumps(document.root)):
        return _convert(document, path, enforced, 0)
    return grammar


def _convert(document: Document, path: str, enforced: bool, max_nodes: int) -> Grammar:
    notes = Notes(path, enforced, dict(document.paths))
    return _Converter(document, notes, Flattener(document, notes, max_nodes)).convert_all()


@dataclass(slots=True)
class _Converter:
    """Each method returns the grammar's schema, or None where no value matches."""

    document: Document
    notes: Notes
    flattener: Flattener
    _definitions: dict[str, Node] = field(default_factory=dict)
    _pending: list[tuple[str, Schema]] = field(default_factory=list)
    _marks: int = 0

    def convert_all(self) -> Grammar:
        schema = self._convert(self.document.root)
        if schema is None:
            if self.notes.enforced:
                raise refusal(self.notes.path, "allows no value at all")
            self.notes.note(self.document.root, "schema")
            schema = {}
        while self._pending:
            name, target = self._pending.pop()
            definition = self._convert(target)
            # references to it are written already, so it cannot be left out
            self._definitions[name] = {} if definition is None else definition
        if self._definitions:
            schema = {**schema, "$defs": self._definitions}
        return Grammar(schema, self.notes.left_out)

    def _convert(self, schema: Schema) -> Node | None:
        if not isinstance(schema, dict):
            return {} if schema else None
        self.flattener.nodes += 1
        if set(schema) == {"$ref"}:
            return self._refer(schema)
        if "$ref" in schema and self.flattener.is_full:
            self.notes.note(schema, "$ref")
            return self._refer(schema)
        if set(schema) == {"allOf"} and len(schema["allOf"]) == 1:
            return self._convert(schema["allOf"][0])
        combined = bool(COMBINING & set(schema))
        self.notes.guesses += combined  # the caller need not have written the contradiction
        try:
            with self.flattener.expanding():
                node = self.flattener.flatten(schema)
                return self._choose(node, node.pop(CHOICES, []))
        except Recursion as recursion:
            self.notes.note(schema, "$ref" if "$ref" in schema else "allOf")
            return self._refer(recursion.reference)
        finally:
            self.notes.guesses -= combined

    def _refer(self, schema: Node) -> Node:
        name = schema["$ref"].removeprefix("#/$defs/").replace("#", "root")
        if name not in self._definitions:
            # before it is converted, so that a recursive reference finds the name
            self._definitions[name] = {}
            self._pending.append((name, self.document.target(schema)))
        return {"$ref": f"#/$defs/{name}"}

    def _choose(self, node: Node, choices: list[tuple[Node, str]]) -> Node | None:
        """Each alternative with the keywords beside it, unless that grows too large."""
        if not choices:
            return self._convert_flat(node)
        (schema, keyword), rest = choices[0], choices[1:]
        arms = schema[keyword]
        if keyword == "oneOf" and not are_disjoint(self.document, arms):
            self.notes.note(schema, keyword)
        alone = not rest and imply(self.document, arms, node)
        self.flattener.nodes += len(arms)
        # every alternative repeats the keywords beside it
        if not alone and (len(arms) > _MAX_MERGED or self.flattener.is_full):
            self.notes.note(schema, keyword)
            return self._choose(node, rest)
        self.notes.guesses += 1
        alternatives = _distinct(
            self._convert(arm) if alone else self._combine(node, arm, (schema, rest))
            for arm in arms
        )
        self.notes.guesses -= 1
        if not alternatives:
            problem = "has no schema that the other keywords of the schema allow"
            self.notes.contradict(schema, keyword, problem)
            return None
        # one alternative allows everything, so the choice restricts nothing
        if {} in alternatives:
            return {}
        return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}

    def _combine(
        self, node: Node, arm: Schema, more: tuple[Node, list[tuple[Node, str]]]
    ) -> Node | None:
        """One alternative and the keywords beside it."""
        schema, rest = more
        try:
            with self.flattener.expanding():
                merged = self.flattener.merge(node, self.flattener.flatten(arm), schema)
                return self._choose(merged, [*merged.pop(CHOICES, []), *rest])
        except Recursion:  # the alternative has to stay a reference
            self.notes.note(schema, "anyOf" if "anyOf" in schema else "oneOf")
        return self._convert(arm)

    def _convert_flat(self, node: Node) -> Node | None:
        if "enum" in node or "const" in node:
            values = convert_values(node, self.notes)
            return values if values is None else self._mark(values, ("enum", "const"))
        types = types_in(node)
        if "type" not in node and not types:
            return {}
        schemas = [one for kind in types if (one := self._convert_type(node, kind)) is not None]
        if len(schemas) < 2:
            return schemas[0] if schemas else None
        if all(set(one) == {"type"} for one in schemas):
            return {"type": [one["type"] for one in schemas]}
        return {"anyOf": schemas}

    def _convert_type(self, node: Node, kind: str) -> Node | None:
        if kind == "string":
            return convert_string(node, self.notes)
        if kind in ("number", "integer"):
            return convert_number(node, kind, self.notes)
        if kind == "array":
            return convert_array(node, self._convert, self.notes)
        if kind == "object":
            schema = convert_object(node, self._convert, self.notes)
            return schema if schema is None else self._mark(schema, ("properties",))
        return {"type": kind}

    def _mark(self, schema: Node, keywords: tuple[str, ...]) -> Node:
        """Makes a schema unique, where xgrammar would take it for another one."""
        if any(is_confused(schema.get(keyword)) for keyword in keywords):
            # xgrammar ignores this keyword, but compares it
            self._marks += 1
            schema["x-mark"] = self._marks
        return schema


def _distinct(schemas: Iterable[Node | None]) -> list[Node]:
    distinct: list[Node] = []
    for schema in schemas:
        if schema is not None and schema not in distinct:
            distinct.append(schema)
    return distinct
