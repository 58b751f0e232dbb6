"""One thing that was looked at: how it stands, and the remedy where it does not stand well."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """`problem`: serving here fails. `warning`: it works, with less speed, room or safety."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at, stable for scripts; `remedy` is what to do or run."""

    check: str
    level: Level
    text: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        if self.level is not Level.OK and not self.remedy:
            raise ValueError(f"finding '{self.check}' has no remedy")

    def as_json(self) -> dict[str, str | None]:
        """All fields, under their names."""
        return asdict(self)


def ok(check: str, text: str) -> Finding:
    """A finding that needs nothing done."""
    return Finding(check, Level.OK, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """A finding that costs something."""
    return Finding(check, Level.WARNING, text, remedy)


def problem(check: str, text: str, remedy: str) -> Finding:
    """A finding that makes serving here fail."""
    return Finding(check, Level.PROBLEM, text, remedy)


def size(size_bytes: float) -> str:
    """A size as people write it: `3.2 GiB`, `512 MiB`."""
    if size_bytes >= 2**30:
        return f"{size_bytes / 2**30:.1f} GiB"
    return f"{size_bytes / 2**20:.0f} MiB"
