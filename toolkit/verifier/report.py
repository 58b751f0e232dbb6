"""Formats findings: as text in the style of rustc, and as JSON.

It returns text with style names; the caller turns these into colours or drops them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from toolkit.finding import Finding, Severity
from toolkit.verifier.finding import ModelFinding

Style = Literal["", "bold", "error", "warning", "dim", "help"]
Piece = tuple[str, Style]
"""Text and its style."""


def lines(finding: ModelFinding) -> Iterator[list[Piece]]:
    """One finding, line by line."""
    style: Style = "error" if finding.severity is Severity.ERROR else "warning"
    yield [(f"{finding.severity}[{finding.code}]", style), (f": {finding.text}", "bold")]
    place = finding.place
    margin = " " * len(str(place.line))
    field = f"  ({place.field})" if place.field else ""
    yield [(f"{margin}--> ", "dim"), (str(place), ""), (field, "dim")]
    if place.line:
        text, shift = _shown(place.text, place.column)
        yield [(f"{margin} |", "dim")]
        yield [(f"{place.line} | ", "dim"), (text, "")]
        # a place may be longer than the part of the line that is shown
        carets = "^" * max(1, min(place.length, len(text) - shift))
        yield [(f"{margin} | ", "dim"), (" " * shift + carets, style)]
    yield [(f"{margin} = ", "dim"), ("effect: ", "bold"), (finding.outcome, "")]
    yield [(f"{margin} = ", "dim"), ("help: ", "help"), (finding.fix or "", "")]


def _shown(text: str, column: int) -> tuple[str, int]:
    """A line with tabs expanded, cut around `column`; and the offset of `column` in it."""
    # a terminal's tab stops move with the margin, so tabs would shift the carets
    before = text[: column - 1].expandtabs(4)
    whole = text.rstrip("\r\n").expandtabs(4)
    start = max(0, len(before) - 60) if len(whole) > 100 else 0
    return whole[start : start + 100], len(before) - start


def summary(findings: Iterable[Finding], models: int, target: str) -> str:
    """One closing sentence."""
    severities = [finding.severity for finding in findings]
    counts = [
        f"{count} {severity}{'' if count == 1 else 's'}"
        for severity in (Severity.ERROR, Severity.WARNING)
        if (count := severities.count(severity))
    ]
    what = f"checked {models} model{'' if models == 1 else 's'} for the target {target}"
    return f"{what}: {', '.join(counts) if counts else 'nothing to report'}"


def as_json(findings: Sequence[ModelFinding], target: str) -> str:
    """An object with `target`, `errors`, `warnings` and the list `findings`."""
    document = {
        "target": target,
        "errors": sum(finding.severity is Severity.ERROR for finding in findings),
        "warnings": sum(finding.severity is Severity.WARNING for finding in findings),
        "findings": [_document(finding) for finding in findings],
    }
    return json.dumps(document, indent=2)


def _document(finding: ModelFinding) -> dict[str, object]:
    place = finding.place
    return {
        "code": finding.code,
        "severity": finding.severity,
        "effect": finding.effect,
        "model": finding.model,
        "file": place.file,
        "line": place.line or None,
        "column": place.column or None,
        "field": place.field or None,
        "text": finding.text,
        "outcome": finding.outcome,
        "fix": finding.fix,
    }
