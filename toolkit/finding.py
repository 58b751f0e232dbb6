"""One diagnosis: how serious it is, where it is, what is wrong and how to fix it.

Plain data, shared by the checks of models.yaml, `verify`, `doctor` and `fit`. It does not know how
it is shown.
"""

from dataclasses import dataclass
from enum import StrEnum

FieldFinding = tuple[tuple[str | int, ...], str, str | None]
"""A finding whose line is not known yet: the path of the field, what is wrong, how to fix it."""


class Severity(StrEnum):
    """`error`: it does not work. `warning`: it works, but slower, or less safely. `ok`: checked,
    nothing to do."""

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Place:
    """Part of one line, or a field of a file, or a whole file.

    `line` and `column` count from 1; 0 means the file as a whole. `text` is the line itself,
    `length` the number of characters concerned, `field` a dotted path as `models.chat.aliases[0]`.
    """

    file: str = ""
    line: int = 0
    column: int = 0
    length: int = 1
    text: str = ""
    field: str = ""

    def __str__(self) -> str:
        parts = [self.file, *(str(number) for number in (self.line, self.column) if number)]
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says what is wrong, `fix` what to do; `code` names the check, stable for scripts."""

    severity: Severity
    place: Place
    text: str
    fix: str | None = None
    code: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.place), self.place.field, self.text)))
