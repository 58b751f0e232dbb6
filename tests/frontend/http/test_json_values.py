"""Values are counted while a body arrives, wherever it is cut."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from frontend.http.json_values import ValueCount

TEXT = st.text(st.sampled_from('a"\\,:[{é\n'), max_size=8)
JSON = st.recursive(
    TEXT | st.integers(-9, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


def marks(value: Any) -> int:
    """Commas, colons and opening brackets, by the definition."""
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + len(value) + sum(map(marks, value.values()))
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(marks, value))
    return 0


@given(JSON, st.integers(1, 9))
def test_strings_do_not_count_and_cuts_do_not_matter(value: Any, size: int) -> None:
    body = orjson.dumps(value)
    count = ValueCount()
    for start in range(0, len(body), size):
        count.add(body[start : start + size])
    assert count.total == marks(value)


@given(st.lists(st.binary(max_size=20)))
def test_bytes_that_are_not_json_are_counted_somehow(parts: list[bytes]) -> None:
    count = ValueCount()
    for part in parts:
        count.add(part)
    assert count.total <= sum(map(len, parts))
