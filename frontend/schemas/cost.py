"""How often validation evaluates one place of an answer, counted beforehand.

A validator follows every `$ref` again, so that `oneOf: [d1, d1]`, d1 the same with d2, and so on,
costs 2^n evaluations of one value. The count is the size of that expansion for the worst place of
any answer. Each schema is counted once. Recursion into a part of the value counts as
one step: its depth depends on the answer, whose check has a deadline. Recursion at the same value
would never end, and is refused.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from frontend.schemas.canonical import Document
from frontend.schemas.keywords import (
    SAME_VALUE,
    SAME_VALUE_MAPS,
    Place,
    Schema,
    parts,
    refusal,
)

_OTHERS = {"additionalProperties", "unevaluatedProperties"}
_OTHER_ITEMS = {"additionalItems", "unevaluatedItems"}
_ANY = "*"


@dataclass(slots=True)
class _Cost:
    """Evaluations at the value itself, and at its parts by their name or number.

    `everywhere` are evaluations of each part, whatever its name. The part under a name is
    counted without those of its own schema's `everywhere` that do not apply to it.
    """

    here: int = 1
    named: Counter[tuple[str, str | int]] = field(default_factory=Counter)
    members: int = 0
    items: int = 0
    names: int = 0

    @property
    def worst(self) -> int:
        """The most at the value or at any part of it."""
        member = [count for (kind, _), count in self.named.items() if kind == "member"]
        item = [count for (kind, _), count in self.named.items() if kind == "item"]
        return max(
            self.here,
            self.members + max(0, *member, 0),
            self.items + max(0, *item, 0),
            self.names,
        )

    def add(self, other: "_Cost") -> None:
        """Adds the cost of another schema at the same value."""
        self.here += other.here
        self.named.update(other.named)
        self.members += other.members
        self.items += other.items
        self.names += other.names


def check_cost(document: Document, path: str, limit: int) -> None:
    """Raises InvalidRequest for a schema that is evaluated more than `limit` times at one place."""
    count = _Counting(document).of(document.root).worst
    if count > limit:
        # Python refuses to write an integer of more than 4,300 digits, and 2^n reaches that
        about = f"{count:,}" if count < 10**12 else "far too many"
        raise refusal(
            path,
            f"takes {about} evaluations of one value; at most {limit:,} are allowed; use fewer"
            " references to the same schemas in 'anyOf', 'oneOf', 'allOf', 'not' and 'if'",
            "schema_too_complex",
        )


class _Counting:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._done: dict[int, _Cost] = {}
        self._open: dict[int, int] = {}
        self._steps = 0

    def of(self, schema: Schema) -> _Cost:
        """The cost of a schema; one step for a schema that is being counted already."""
        if not isinstance(schema, dict):
            return _Cost()
        # without it the count itself would take as many steps as the validation
        if id(schema) in self._done:
            return self._done[id(schema)]
        if id(schema) in self._open:
            # no step into a part of the value since then: it is the same value again
            if self._open[id(schema)] == self._steps:
                where = self._document.paths.get(id(schema), "the schema")
                raise refusal(where, "refers to itself endlessly")
            return _Cost()
        self._open[id(schema)] = self._steps
        cost = self._count(schema)
        del self._open[id(schema)]
        self._done[id(schema)] = cost
        return cost

    def _count(self, node: dict[str, Any]) -> _Cost:
        cost = _Cost()
        if "$ref" in node:
            cost.add(self.of(self._document.target(node)))
        children: list[tuple[Place, int]] = []
        for place, part in parts(node):
            if place.keyword in SAME_VALUE or place.keyword in SAME_VALUE_MAPS:
                cost.add(self.of(part))
            else:
                self._steps += 1
                children.append((place, self.of(part).worst))
                self._steps -= 1
        _add_children(cost, children)
        return cost


def _add_children(cost: _Cost, children: list[tuple[Place, int]]) -> None:
    others = sum(worst for place, worst in children if place.keyword in _OTHERS)
    listed = any(place.keyword == "items" and place.key is not None for place, _ in children)
    other_items = {*_OTHER_ITEMS, *(() if listed else ("items",))}
    rest = sum(w for place, w in children if place.keyword in other_items and place.key is None)
    cost.members += others
    cost.items += rest
    for place, worst in children:
        if place.keyword == "properties":
            cost.named["member", str(place.key)] += worst - others
        elif place.keyword == "patternProperties":
            cost.members += worst
        elif place.keyword == "contains":
            cost.items += worst
        elif place.keyword == "propertyNames":
            cost.names += worst
        elif place.key is not None:  # prefixItems, or a list of items
            cost.named["item", place.key] += worst - rest
