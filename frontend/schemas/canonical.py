"""A self-contained copy of a schema, with its references resolved.

In the copy every `$ref` is `#` or `#/$defs/rN`; it has no `$schema`, `$id`, anchors or annotations.
It means the same, and every later step uses it in place of the caller's schema.
"""

from dataclasses import dataclass, field
from typing import Any

from frontend.schemas.keywords import (
    MAPS,
    REFERENCE_ALONE,
    VALUES,
    Place,
    Schema,
    draft_of,
    parts,
    refusal,
    table,
)
from frontend.schemas.limits import Limits
from frontend.schemas.references import REFERRING, References


@dataclass(frozen=True, slots=True)
class Document:
    """A canonical schema. `paths` has where the caller wrote each of its schemas, by `id()`."""

    root: dict[str, Any]
    draft: str
    paths: dict[int, str]

    def target(self, node: dict[str, Any]) -> Schema:
        """The schema that a `$ref` refers to."""
        reference: str = node["$ref"]
        if reference == "#":
            return self.root
        definition: Schema = self.root["$defs"][reference.removeprefix("#/$defs/")]
        return definition


def canonical(schema: dict[str, Any], path: str, limits: Limits) -> Document:
    """Raises InvalidRequest for a schema above `limits` or with references to other documents.

    The schema must be valid for its draft already.
    """
    measure(schema, path, limits)
    draft = draft_of(schema, path)
    _check_drafts(schema, path, draft)
    copier = _Copier(References(schema, path, draft), draft, schema)
    root = copier.copy_all(path)
    # with draft 4's bounds rewritten, draft 6 reads the rest of it in the same way
    return Document(root, "Draft6Validator" if draft == "Draft4Validator" else draft, copier.paths)


def measure(schema: dict[str, Any], path: str, limits: Limits) -> None:
    """Raises InvalidRequest for too many levels, properties or values."""
    # a loop, since this is what bounds the recursions of all later steps
    properties, pending = 0, [(schema, path, 1)]
    while pending:
        node, where, depth = pending.pop()
        if depth > limits.depth:
            raise refusal(where, f"is nested deeper than {limits.depth} levels")
        properties += len(table(node.get("properties")))
        if properties > limits.properties:
            raise refusal(path, f"has more than {limits.properties} properties")
        if isinstance(node.get("enum"), list) and len(node["enum"]) > limits.enum:
            raise refusal(f"{where}.enum", f"has more than {limits.enum} values")
        pending += [
            (part, where + place.path, depth + 1)
            for place, part in parts(node, definitions=True)
            if isinstance(part, dict)
        ]


def _check_drafts(schema: dict[str, Any], path: str, draft: str) -> None:
    """A part may repeat the `$schema` of the whole, but not change it."""
    for place, part in parts(schema, definitions=True):
        if isinstance(part, dict):
            where = path + place.path
            if "$schema" in part and draft_of(part, where) != draft:
                raise refusal(f"{where}.$schema", "must be the same as that of the whole schema")
            _check_drafts(part, where, draft)


def _modernize(node: dict[str, Any]) -> None:
    """Draft 4 wrote an exclusive bound as `"minimum": 1, "exclusiveMinimum": true`."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(node.get(exclusive), bool) and node.pop(exclusive) and bound in node:
            node[exclusive] = node.pop(bound)


@dataclass(slots=True)
class _Copier:
    references: References
    draft: str
    root: dict[str, Any]
    paths: dict[int, str] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _pending: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)

    def copy_all(self, path: str) -> dict[str, Any]:
        copied = self._copy_node(self.root, path)
        definitions: dict[str, Schema] = {}
        while self._pending:
            name, node, where = self._pending.pop()
            definitions[name] = self._copy_node(node, where)
        if definitions:
            copied["$defs"] = dict(sorted(definitions.items(), key=lambda item: int(item[0][1:])))
        return copied

    def _copy(self, schema: Schema, path: str) -> Schema:
        return self._copy_node(schema, path) if isinstance(schema, dict) else schema

    def _copy_node(self, node: dict[str, Any], path: str) -> dict[str, Any]:
        references = [name for name in REFERRING if name in node]
        copy: dict[str, Any] = {}
        # draft 7, section 8.3: all other properties of an object with `$ref` must be ignored
        if not (references and self.draft in REFERENCE_ALONE):
            copy = {name: value for name, value in node.items() if name in VALUES}
            # an empty object has a meaning, too; some of 'dependencies' may be lists
            copy |= {name: dict(node[name]) for name in MAPS if isinstance(node.get(name), dict)}
            for place, part in parts(node):
                self._put(copy, place, self._copy(part, path + place.path))
            # an empty list has no parts, but it makes `additionalItems` apply to every item
            if isinstance(node.get("items"), list):
                copy.setdefault("items", [])
            _modernize(copy)
        for name in references:
            target = self._refer(node, name, path)
            # a second reference, such as `$dynamicRef` beside `$ref`, needs a place of its own
            if "$ref" in target and "$ref" not in copy:
                copy = target | copy
            else:
                copy["allOf"] = [*copy.get("allOf", []), target]
                self.paths[id(target)] = path
        self.paths[id(copy)] = path
        return copy

    def _refer(self, node: dict[str, Any], keyword: str, path: str) -> dict[str, Any]:
        target, where = self.references.target(node, keyword, path)
        if target is self.root:
            return {"$ref": "#"}
        if not isinstance(target, dict):
            # true and false are the same objects wherever they are written, so they have no `id()`
            return {} if target else {"not": {}}
        if id(target) not in self._names:
            self._names[id(target)] = name = f"r{len(self._names)}"
            self._pending.append((name, target, where))
        return {"$ref": f"#/$defs/{self._names[id(target)]}"}

    @staticmethod
    def _put(copy: dict[str, Any], place: Place, copied: Schema) -> None:
        if place.key is None:
            copy[place.keyword] = copied
        elif isinstance(place.key, int):
            copy.setdefault(place.keyword, []).append(copied)
        else:
            copy.setdefault(place.keyword, {})[place.key] = copied
