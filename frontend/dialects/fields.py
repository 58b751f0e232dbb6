"""Reads a JSON object field by field and refuses what is left over.

Every refusal names the field, the value where it is short, and what would be right. `null` counts
as absent, as OpenAI's clients send it. Pure.
"""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from frontend.errors import InvalidRequest, UnknownFields

_MAX_SHOWN = 60
_MAX_COMPARED = 64


class Fields:
    """The fields of one object that nobody has read yet. `path` leads to it in error messages."""

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            where = f"'{path}'" if path else "the request body"
            raise InvalidRequest(f"{where} must be a JSON object", param=path or None)
        self._left: dict[str, Any] = {k: v for k, v in value.items() if v is not None}
        self._nulls = {k for k, v in value.items() if v is None}
        self._known: set[str] = set()
        self._all = value
        self._path = path

    @property
    def exhausted(self) -> bool:
        """Whether every field was read. Most requests set few, so rare groups can be skipped."""
        return not self._left and not self._nulls

    def at(self, name: str) -> str:
        """The full path of a field."""
        return f"{self._path}.{name}" if self._path else name

    def refuse(self, name: str, problem: str, *, code: str | None = None) -> InvalidRequest:
        """The error for a field: raise it."""
        return InvalidRequest(f"'{self.at(name)}' {problem}", param=self.at(name), code=code)

    def has(self, name: str) -> bool:
        """Whether the field is there and nobody has read it."""
        return name in self._left

    def given(self, name: str) -> bool:
        """Whether the field came with the request, read or not."""
        return self._all.get(name) is not None

    def take(self, name: str) -> Any:
        """The field's value whatever it is, None when absent."""
        self._known.add(name)
        return self._left.pop(name, None)

    def required(self, name: str) -> Any:
        """The field's value; absence is an error."""
        if (value := self.take(name)) is None:
            raise self.refuse(name, "is required", code="missing_required_parameter")
        return value

    def text(self, name: str) -> str | None:
        """A string."""
        value: str | None = self._typed(name, "a string", lambda v: isinstance(v, str))
        return value

    def boolean(self, name: str) -> bool | None:
        """true or false."""
        value: bool | None = self._typed(name, "true or false", lambda v: isinstance(v, bool))
        return value

    def integer(self, name: str, low: int | None = None, high: int | None = None) -> int | None:
        """A whole number within bounds, both included."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, float) and abs(value) >= 2**63:  # JSON's larger ones come as floats
            raise self.refuse(name, f"is beyond 64 bits; it must be {_bounds(low, high)}")
        if not _is_integer(value):
            raise self.refuse(name, f"must be a whole number, not {_shown(value)}")
        whole: int = self._bounded(name, value, low, high)
        return whole

    def number(
        self, name: str, low: float | None = None, high: float | None = None
    ) -> float | None:
        """A number within bounds, both included."""
        value = self._typed(name, "a number", _is_number)
        return None if value is None else self._bounded(name, value, low, high)

    def choice(self, name: str, allowed: Iterable[str]) -> str | None:
        """One of a few strings."""
        value, options = self.text(name), list(allowed)
        if value is not None and value not in options:
            shown = ", ".join(repr(option) for option in options)
            raise self.refuse(name, f"is {value[:_MAX_SHOWN]!r}; supported: {shown}")
        return value

    def texts(self, name: str, most: int) -> list[str] | None:
        """A string, or a list of at most `most` strings; always returned as a list."""
        value = self.take(name)
        if value is None:
            return None
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(v, str) for v in listed):
            raise self.refuse(name, f"must be a string or a list of strings, not {_shown(value)}")
        if len(listed) > most:
            raise self.refuse(name, f"has {len(listed)} entries, at most {most} are allowed")
        return listed

    def token_ids(self, name: str) -> list[int] | None:
        """A list of token ids."""
        value: list[int] | None = self._typed(name, "a list of token ids", is_token_ids)
        return value

    def one_of_types(self, name: str, types: tuple[type, ...], kind: str) -> Any:
        """A value of one of several JSON types."""
        return self._typed(name, kind, lambda value: isinstance(value, types))

    def mapping(self, name: str) -> dict[str, Any] | None:
        """A JSON object, unread."""
        value: dict[str, Any] | None = self._typed(
            name, "a JSON object", lambda v: isinstance(v, dict)
        )
        return value

    def inner(self, name: str) -> "Fields | None":
        """A JSON object, to be read field by field."""
        value = self.take(name)
        return None if value is None else Fields(value, self.at(name))

    def only(self, name: str, allowed: tuple[object, ...], reason: str) -> None:
        """A field that is known but cannot be honoured unless it is one of `allowed`."""
        value = self.take(name)
        if value is not None and value not in allowed:
            raise self.refuse(name, f"is not supported: {reason}", code="unsupported_parameter")

    def leave(self) -> list[str]:
        """Ignores every field that was not read; returns their names."""
        names, self._left, self._nulls = list(self._left), {}, set()
        return names

    def finish(self) -> None:
        """Refuses every field that was not read. What is null inside of a field says nothing."""
        nulls = set() if self._path else self._nulls - self._known
        unread = [*self._left, *nulls]
        if unread:
            name = unread[0] if self._left else min(nulls)
            short = len(name) <= _MAX_COMPARED  # comparing takes the product of the lengths
            near = difflib.get_close_matches(name, self._known, n=1) if short else []
            hint = f"; did you mean '{near[0]}'?" if near else ""
            problem = f"is not a known parameter{hint}"
            if self._path:
                raise self.refuse(name[:_MAX_SHOWN], problem, code="unknown_parameter")
            raise UnknownFields(f"'{name[:_MAX_SHOWN]}' {problem}", names=unread)

    def _typed(self, name: str, kind: str, check: Callable[[Any], bool]) -> Any:
        value = self.take(name)
        if value is not None and not check(value):
            raise self.refuse(name, f"must be {kind}, not {_shown(value)}")
        return value

    def _bounded(self, name: str, value: Any, low: float | None, high: float | None) -> Any:
        if (low is not None and value < low) or (high is not None and value > high):
            raise self.refuse(name, f"is {value}, it must be {_bounds(low, high)}")
        return value


def _bounds(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return f"between {-(2**63)} and {2**63 - 1}"
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"between {low} and {high}"


def is_token_ids(value: object) -> bool:
    """Whether it is a list of numbers that can be token ids: they travel as INT32."""
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**31 for one in value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    # inf and nan cannot come out of JSON, a huge integer can
    return isinstance(value, float) or (_is_integer(value) and abs(value) < 2**63)  # type: ignore[arg-type]


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)} entries"
    # a part of a long text is enough, and quick
    text = repr(value[: _MAX_SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
