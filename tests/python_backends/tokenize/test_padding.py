"""Rows of one batch get one length."""

from hypothesis import given
from hypothesis import strategies as st

from python_backends.tokenize import padding
from python_backends.tokenize.padding import pad


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=39), min_size=1, max_size=5),
    st.integers(1, 50),
)
def test_padding_to_a_multiple_ends_at_the_models_last_position(
    texts: list[list[int]], multiple: int
) -> None:
    width = pad([padding.Row(ids) for ids in texts], multiple, most=39)["input_ids"].shape[1]
    longest = max(map(len, texts))
    assert width == 39 or width % multiple == 0
    assert longest <= width < longest + multiple
