"""Checks a request's schemas and plans their use before admission. Runs in a worker process."""

import sys
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import orjson

from frontend.schemas.canonical import Document, canonical, measure
from frontend.schemas.check import Checker, make_checker
from frontend.schemas.cost import check_cost
from frontend.schemas.grammar import grammar_of
from frontend.schemas.keywords import draft_of, meta_uri, parts, refusal, table
from frontend.schemas.limits import Limits
from frontend.schemas.patterns import InvalidPattern, read_pattern

_MAX_RECURSION = 50_000


@dataclass(frozen=True, slots=True)
class Plan:
    """`grammar` (JSON) is for the engine, `checker` for the finished answer.

    `left_out` are the paths of keywords that only the checker enforces, `unchecked` of those that
    are not enforced at all.
    """

    grammar: bytes
    checker: Checker
    left_out: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        # paths hold names of properties, which the caller chose
        paths = sum(100 + len(path) for path in (*self.left_out, *self.unchecked))
        return 500 + len(self.grammar) + len(self.checker.source) + paths


def make_plans(jobs: list[tuple[bytes, str, bool]], limits: Limits) -> list[Plan]:
    """A plan for each (schema as JSON, its path, `enforced`)."""
    return [make_plan(source, path, limits, enforced) for source, path, enforced in jobs]


def make_plan(source: bytes, path: str, limits: Limits, enforced: bool) -> Plan:
    """`enforced`: refuses a schema that cannot be checked. Raises InvalidRequest naming a place."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(_MAX_RECURSION)  # references nest deeper than brackets
    try:
        return _plan(orjson.loads(source), path, limits, enforced)
    except RecursionError:
        raise refusal(
            path, "is nested too deeply once its references are followed", "schema_too_complex"
        ) from None
    finally:
        sys.setrecursionlimit(before)


def _plan(schema: dict[str, Any], path: str, limits: Limits, enforced: bool) -> Plan:
    # before anything recurses over it, the native validators above all
    measure(schema, path, limits)
    _check_meta(schema, path)
    document = canonical(schema, path, limits)
    check_cost(document, path, limits.expansion)
    # before the checker, because the library refuses a schema with an invalid pattern
    unchecked = _check_patterns(document, path, limits, enforced)
    checker = make_checker(document, path)
    grammar = grammar_of(document, path, enforced=enforced)
    left_out = tuple(one for one in grammar.left_out if one not in unchecked)
    return Plan(orjson.dumps(grammar.schema), checker, left_out, tuple(unchecked))


def _check_meta(schema: dict[str, Any], path: str) -> None:
    """Raises InvalidRequest for an invalid schema; the library contains the drafts' own schemas."""
    draft = draft_of(schema, path)
    # never the caller's own spelling: the library would download an unknown one
    declared = {**schema, "$schema": meta_uri(draft)}
    try:
        jsonschema_rs.meta.validate(declared)
    except jsonschema_rs.ValidationError as error:
        where = path + "".join(
            f"[{part}]" if isinstance(part, int) else f".{part[:60]}"
            for part in error.instance_path
        )
        raise refusal(where, "is not valid JSON Schema") from None


def _check_patterns(document: Document, path: str, limits: Limits, enforced: bool) -> list[str]:
    """Counts the regular expressions; removes invalid ones and returns their paths."""
    total, size, unchecked = 0, 0, list[str]()
    # definitions are not among the parts of a schema
    pending = [document.root, *table(document.root.get("$defs")).values()]
    while pending:
        node = pending.pop()
        if not isinstance(node, dict):
            continue
        pending += [part for _, part in parts(node)]
        where = document.paths.get(id(node), path)
        for source, keyword, parent in _patterns(node):
            total += 1
            try:
                size += read_pattern(source).size
            except InvalidPattern as error:
                if enforced:
                    raise refusal(f"{where}.{keyword}", f"{error}: {source[:60]!r}") from None
                unchecked.append(f"{where}.{keyword}")
                del parent[source if parent is not node else keyword]
            if total > limits.patterns:
                raise refusal(path, f"has more than {limits.patterns} regular expressions")
            if size > limits.pattern_size:
                raise refusal(
                    f"{where}.{keyword}",
                    f"is too large: with repetitions written out, all regular expressions of a"
                    f" schema may have {limits.pattern_size} characters",
                    "schema_too_complex",
                )
    return unchecked


def _patterns(node: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(expression, keyword, the object that contains it)"""
    patterns = []
    if isinstance(node.get("pattern"), str):
        patterns.append((node["pattern"], "pattern", node))
    by_pattern = table(node.get("patternProperties"))
    return [*patterns, *((source, "patternProperties", by_pattern) for source in by_pattern)]
