"""A schema's `$ref` and `allOf` merged into the keywords beside them.

What is merged is written out wherever it is used, so the number of schemas is limited: beyond it
nothing is merged, and the grammar allows more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from frontend.schemas.canonical import Document
from frontend.schemas.keywords import Schema
from frontend.schemas.merge import CHOICES, NEVER, Node, merge
from frontend.schemas.notes import Notes

COMBINING = frozenset({"$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"})
_CHECKED = ("not", "if")
"""Only the check of the finished answer evaluates these."""


class Recursion(Exception):
    """A schema would be merged into a part of itself: it has to stay a reference."""

    def __init__(self, reference: Node) -> None:
        super().__init__()
        self.reference = reference


@dataclass(slots=True)
class Flattener:
    """Counts the schemas that are written."""

    document: Document
    notes: Notes
    max_nodes: int
    nodes: int = 0
    _expanding: list[Schema] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether the grammar is too large to merge anything more."""
        return self.nodes > self.max_nodes

    @contextmanager
    def expanding(self) -> Iterator[None]:
        """References that are followed within the block may be followed again after it."""
        before = len(self._expanding)
        try:
            yield
        finally:
            del self._expanding[before:]

    def flatten(self, schema: Schema) -> Node:
        """The schema with alternatives under `CHOICES`. Raises Recursion if it refers to itself."""
        if not isinstance(schema, dict):
            return {} if schema else dict(NEVER)
        node = {name: value for name, value in schema.items() if name not in {*COMBINING, "$defs"}}
        for keyword in _CHECKED:
            if keyword in schema:
                self.notes.note(schema, keyword)
        self._rename_older(node)
        self._replace_unevaluated(node, schema)
        groups = [(schema, name) for name in ("anyOf", "oneOf") if name in schema]
        if groups:
            node[CHOICES] = groups
        self.notes.copy_path(node, schema)
        for source in self._sources(schema):
            node = self.merge(node, self.flatten(source), schema)
        return node

    def merge(self, first: Node, second: Node, place: Node) -> Node:
        """Both in one; `place` is the schema that what cannot be merged is noted for."""
        merged = merge(first, second, lambda keyword: self.notes.note(place, keyword))
        self.notes.copy_path(merged, place)
        return merged

    @staticmethod
    def _rename_older(node: Node) -> None:
        """Until 2019-09 `prefixItems` was a list in `items`."""
        if isinstance(node.get("items"), list):
            node["prefixItems"] = node.pop("items")
            if "additionalItems" in node:
                node["items"] = node["additionalItems"]
        # beside a single schema in `items` it means nothing
        node.pop("additionalItems", None)

    def _replace_unevaluated(self, node: Node, schema: Node) -> None:
        """Without combining keywords these mean the same as `additionalProperties` and `items`."""
        # since 2020-12 `contains` marks items as evaluated
        alone = not COMBINING & set(schema) and "contains" not in node
        for keyword, same in (
            ("unevaluatedProperties", "additionalProperties"),
            ("unevaluatedItems", "items"),
        ):
            given = node.pop(keyword, None)
            if given is not None and alone:
                node.setdefault(same, given)
            elif given is not None:
                self.notes.note(schema, keyword)

    def _sources(self, schema: Node) -> list[Schema]:
        """The schemas to merge into this one. Raises Recursion for one that is being written."""
        sources = list(schema.get("allOf", ()))
        if "$ref" in schema:
            target = self.document.target(schema)
            # by identity: equal schemas at two places are two schemas
            if any(target is one for one in self._expanding):
                raise Recursion(schema)
            self._expanding.append(target)
            sources.insert(0, target)
        self.nodes += len(sources)
        if sources and self.is_full:
            self.notes.note(schema, "allOf")
            return []
        return sources
