"""Parses the query of a list: limit, cursor and filters. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl

from frontend.errors import InvalidRequest

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
_MAX_LENGTH = 200
_MAX_IDS = 8192
"""200 ids of 26 characters, and more of those that are names."""
ORDERS = ("oldest", "newest")
_MAX_FIELDS = 20


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of a list, and the values that its entries must have."""

    limit: int
    after: str
    filters: dict[str, str]


def parse_query(query: bytes, filters: Collection[str] = ()) -> ListQuery:
    """Raises InvalidRequest for parameters that are unknown, repeated or not valid."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InvalidRequest("the query of the URL is not valid", param="query") from None
    values: dict[str, str] = {}
    known = ("limit", "after", *filters)
    for name, value in pairs:
        if name not in known:
            text = f"'{name[:60]}' is not a known parameter; known: {', '.join(known)}"
            raise InvalidRequest(text, param=name[:60], code="unknown_parameter")
        if name in values:
            raise InvalidRequest(f"'{name}' is given more than once", param=name)
        most = _MAX_IDS if name == "ids" else _MAX_LENGTH
        if len(value) > most or not value.isprintable():
            problem = f"'{name}' must be at most {most} printable characters"
            raise InvalidRequest(problem, param=name)
        values[name] = value
    limit, after = _limit(values.pop("limit", "")), values.pop("after", "")
    return ListQuery(limit, after, values)


def read_ids(text: str) -> tuple[str, ...]:
    """Ids separated by commas. Raises InvalidRequest for too many."""
    ids = tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    if len(ids) > MAX_LIMIT:
        problem = f"'ids' has {len(ids)} ids; it must have at most {MAX_LIMIT}"
        raise InvalidRequest(problem, param="ids")
    return ids


def is_newest(text: str) -> bool:
    """Whether a list begins with its newest entry. Raises InvalidRequest for an unknown order."""
    if text not in ORDERS:
        problem = f"'order' is '{text[:40]}'; it must be one of {', '.join(ORDERS)}"
        raise InvalidRequest(problem, param="order")
    return text == "newest"


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    # nine digits before int(), which refuses more than 4,300
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise InvalidRequest(
            f"'limit' is '{text[:20]}'; it must be between 1 and {MAX_LIMIT}", param="limit"
        )
    return int(text)
