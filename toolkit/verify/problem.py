"""One thing that is wrong with a repository: where, what Triton does about it, and how to mend it.

Plain data. It knows neither rules nor how it is shown.
"""

from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What the server does with the mistake."""

    REFUSED = "refused"
    FAILS = "fails"
    SILENT = "silent"
    RISK = "risk"
    IGNORED = "ignored"


class Severity(StrEnum):
    """Whether the repository works in spite of it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """Part of one line. `line` and `column` count from 1; 0 means the file or folder as a whole."""

    file: str
    line: int = 0
    column: int = 0
    length: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """What `rule` found in `model`. `outcome` is a sentence about the server, `fix` an order."""

    rule: str
    severity: Severity
    effect: Effect
    model: str
    place: Place
    field: str
    message: str
    outcome: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.severity}[{self.rule}]: {self.message}"
