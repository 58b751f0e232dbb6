"""Validates finished answers. Runs in a worker process: validators cannot be interrupted.

Nothing is fetched: the validators are offline, and a canonical schema refers only to itself.
`format` is an annotation. Regular expressions run in linear time; those with lookaround or back
references, which linear engines do not support, have a limit on their steps.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from frontend.schemas.canonical import Document
from frontend.schemas.keywords import refusal

_PATTERN_BYTES = 16 * 2**20
_BACKTRACKS = 100_000
_MASK = "a value"
_LINEAR = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES)
_BACKTRACKING = jsonschema_rs.FancyRegexOptions(
    size_limit=_PATTERN_BYTES, backtrack_limit=_BACKTRACKS
)


@dataclass(frozen=True, slots=True)
class Checker:
    """A canonical schema as JSON, and the name of its draft's validator."""

    source: bytes
    draft: str


def make_checker(document: Document, path: str) -> Checker:
    """Raises InvalidRequest for a schema that the library cannot make a validator of."""
    checker = Checker(orjson.dumps(document.root), document.draft)
    try:
        _validator(checker)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        where = path + "".join(
            f"[{part}]" if isinstance(part, int) else f".{part[:60]}"
            for part in getattr(error, "instance_path", ())
        )
        problem = str(error).splitlines()[0][:200].replace(_MASK, "this")
        raise refusal(where, f"cannot be checked: {problem}") from None
    return checker


def find_errors(jobs: list[tuple[Checker, str]]) -> list[str | None]:
    """For each (checker, text): why the text does not match the schema, or None if it does."""
    return [_find_error(checker, text) for checker, text in jobs]


def _find_error(checker: Checker, text: str) -> str | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "it is not valid JSON"
    validator = _validator(checker)
    # stops at the first error and words nothing; most answers match
    if validator.is_valid(value):
        return None
    error = next(iter(validator.iter_errors(value)))
    where = "".join(f"/{str(part)[:60]}" for part in error.instance_path) or "/"
    return f"at '{where[:200]}', {str(error).splitlines()[0][:200]}"


# the requests of an agent repeat their schemas
@lru_cache(maxsize=32)
def _validator(checker: Checker) -> Any:
    schema = orjson.loads(checker.source)
    make = getattr(jsonschema_rs, checker.draft)
    common = {"offline": True, "validate_formats": False, "mask": _MASK}
    try:
        # the linear engine first: only patterns that it cannot read may backtrack
        return make(schema, pattern_options=_LINEAR, **common)
    except jsonschema_rs.ValidationError:
        return make(schema, pattern_options=_BACKTRACKING, **common)
