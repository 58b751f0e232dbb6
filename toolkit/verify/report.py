"""Shows problems: the way rustc does for people, as JSON for programs.

Pure text; colours are marks that the caller turns into escapes or drops.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Literal

from toolkit.verify.problem import Problem, Severity

Style = Literal["", "bold", "error", "warning", "dim", "help"]
Piece = tuple[str, Style]
"""Text and how it is set."""


def lines(problem: Problem) -> Iterator[list[Piece]]:
    """One problem, line by line."""
    style: Style = "error" if problem.severity is Severity.ERROR else "warning"
    yield [(f"{problem.severity}[{problem.rule}]", style), (f": {problem.message}", "bold")]
    place = problem.place
    margin = " " * len(str(place.line))
    field = f"  ({problem.field})" if problem.field else ""
    yield [(f"{margin}--> ", "dim"), (str(place), ""), (field, "dim")]
    if place.line:
        text, shift = _shown(place.text, place.column)
        yield [(f"{margin} |", "dim")]
        yield [(f"{place.line} | ", "dim"), (text, "")]
        carets = "^" * max(1, min(place.length, len(text) - shift))
        yield [(f"{margin} | ", "dim"), (" " * shift + carets, style)]
    yield [(f"{margin} = ", "dim"), ("then: ", "bold"), (problem.outcome, "")]
    yield [(f"{margin} = ", "dim"), ("help: ", "help"), (problem.fix, "")]


def _shown(text: str, column: int) -> tuple[str, int]:
    """A line with its tabs as spaces, cut around `column`; and where that is in it, from 0."""
    before = text[: column - 1].expandtabs(4)
    whole = text.rstrip("\r\n").expandtabs(4)
    start = max(0, len(before) - 60) if len(whole) > 100 else 0
    return whole[start : start + 100], len(before) - start


def summary(problems: Iterable[Problem], models: int, target: str) -> str:
    """One closing sentence."""
    severities = [problem.severity for problem in problems]
    counts = [
        f"{count} {severity}{'' if count == 1 else 's'}"
        for severity in Severity
        if (count := severities.count(severity))
    ]
    what = f"{models} model{'' if models == 1 else 's'} for the target {target}"
    return f"{what}: {', '.join(counts) if counts else 'nothing to report'}"


def as_json(problems: Iterable[Problem], target: str) -> str:
    """An object with `target`, `errors`, `warnings` and the list of `problems`."""
    found = list(problems)
    document = {
        "target": target,
        "errors": sum(problem.severity is Severity.ERROR for problem in found),
        "warnings": sum(problem.severity is Severity.WARNING for problem in found),
        "problems": [_document(problem) for problem in found],
    }
    return json.dumps(document, indent=2)


def _document(problem: Problem) -> dict[str, object]:
    place = problem.place
    return {
        "rule": problem.rule,
        "severity": problem.severity,
        "effect": problem.effect,
        "model": problem.model,
        "file": place.file,
        "line": place.line or None,
        "column": place.column or None,
        "field": problem.field or None,
        "message": problem.message,
        "outcome": problem.outcome,
        "fix": problem.fix,
    }
