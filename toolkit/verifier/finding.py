"""A finding about a model: besides place, text and fix it says what the server does about it.

Plain data. It does not depend on the rules or on how it is shown.
"""

from dataclasses import dataclass
from enum import StrEnum

from toolkit.finding import Finding, Place, Severity


class Effect(StrEnum):
    """What the server does with the mistake."""

    REFUSED = "refused"
    FAILS = "fails"
    SILENT = "silent"
    RISK = "risk"
    IGNORED = "ignored"

    @property
    def severity(self) -> Severity:
        """A warning if the repository can still work."""
        warns = self in {Effect.RISK, Effect.IGNORED}
        return Severity.WARNING if warns else Severity.ERROR


@dataclass(frozen=True, slots=True)
class ModelFinding(Finding):
    """`code` is the rule. `effect` is None, and `model` empty, until the rule fills them in.

    `outcome` is a sentence about the server; `{target}` stands for the release.
    """

    model: str = ""
    effect: Effect | None = None
    outcome: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.severity}[{self.code}]: {self.text}"


def draft(
    place: Place, text: str, fix: str, outcome: str = "", effect: Effect | None = None
) -> ModelFinding:
    """What a rule yields. `Rule.apply` completes it; outcome and effect default to the rule's."""
    return ModelFinding(Severity.ERROR, place, text, fix, outcome=outcome, effect=effect)
