"""The query of a search in the audit. Pure."""

import re
from collections.abc import Mapping

from frontend.errors import InvalidRequest

PARAMETERS = ("start", "end", "tz", "model", "status", "text", "request_id", "format", "content")
_STATUS = re.compile(r"[1-5]\d\d|[2-5]xx")
_KNOWN = (
    200, 201, 202, 204, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 416, 422, 429, 431, 499,
    500, 501, 502, 503, 504, 529,
)  # fmt: skip
"""Statuses that the gateway answers with, for `4xx` and the like."""
_WORD = re.compile(r"[^\W_]+\*?")
_MOST_WORDS = 16


def read_statuses(text: str) -> tuple[int, ...]:
    """The statuses of `429`, `4xx`, or several of them separated by commas. Raises InvalidRequest
    for any other text."""
    found: dict[int, None] = {}
    for part in text.split(","):
        if not _STATUS.fullmatch(part := part.strip().lower()):
            raise InvalidRequest(
                f"'status' is '{text[:40]}'; it must be a comma-separated list of statuses such"
                " as 429 or 4xx",
                param="status",
            )
        if part.endswith("xx"):
            found |= dict.fromkeys(one for one in _KNOWN if one // 100 == int(part[0]))
        else:
            found[int(part)] = None
    return (*found,)


def read_words(text: str) -> tuple[str, ...]:
    """The words to search for, in lower case; one may end with `*`. Raises InvalidRequest for no
    words or too many."""
    words = tuple(dict.fromkeys(_WORD.findall(text.lower())))
    if not words or len(words) > _MOST_WORDS:
        raise InvalidRequest(
            f"'text' has {len(words)} words; it must have 1 to {_MOST_WORDS}", param="text"
        )
    return words


def read_cursor(text: str) -> int | None:
    """The id that `next_after` had. Raises InvalidRequest for a text that is not such an id."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise InvalidRequest("'after' must be the 'next_after' of the page before", param="after")
    return int(text)


def read_flag(name: str, given: Mapping[str, str]) -> bool:
    """`true` or `false`; a missing parameter is false. Raises InvalidRequest for another value."""
    value = given.get(name, "false")
    if value not in ("true", "false"):
        raise InvalidRequest(f"'{name}' is '{value[:40]}'; it must be true or false", param=name)
    return value == "true"
