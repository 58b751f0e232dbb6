"""The errors of request bodies. Each names the field by its path, and the valid values."""

from typing import Any

from frontend.errors import InvalidRequest

MAX_SHOWN = 60
MISSING = "missing_required_parameter"


def refuse(path: str, problem: str, *, code: str | None = None) -> InvalidRequest:
    """Returns the error for a field, to be raised."""
    return InvalidRequest(f"'{path}' {problem}", param=path, code=code)


def require(path: str) -> InvalidRequest:
    """Returns the error for a missing field, to be raised."""
    return refuse(path, "is required", code=MISSING)


def check_count(path: str, entries: list[Any] | tuple[Any, ...], most: int) -> None:
    """Raises InvalidRequest for a list that is too long."""
    if len(entries) > most:
        raise refuse(path, f"has {len(entries)} entries; at most {most} are allowed")


def shown(value: object) -> str:
    """A value as text for errors, shortened if it is long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)} entries"
    # a part of a long text is enough, and quick
    text = repr(value[: MAX_SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
