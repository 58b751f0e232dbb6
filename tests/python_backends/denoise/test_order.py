"""What an image request may ask for: defaults, limits, seeds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends.denoise.order import Limits, Order, read_order
from python_backends.errors import InvalidInput

LIMITS = Limits(width=32, height=32, multiple_of=8, max_size=64, steps=5, max_steps=9, max_count=3)


def order(**wanted: Any) -> Order:
    return read_order({name: np.array([value]) for name, value in wanted.items()}, LIMITS)


def test_defaults_are_the_models() -> None:
    found = order(seed=1)
    assert found == Order(steps=5, guidance=7.5, width=32, height=32, seed=1, count=1)
    assert order().seed != order().seed, "without a seed images differ"


@given(st.integers(0, 2**63 - 1), st.integers(1, 3))
def test_image_i_has_seed_plus_i(seed: int, count: int) -> None:
    seeds = order(seed=seed, count=count).seeds
    assert seeds == [order(seed=(seed + i) % 2**63).seeds[0] for i in range(count)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 10),
        ("count", 4),
        ("width", 33),
        ("height", 72),
        ("width", 0),
        ("guidance", float("nan")),
        ("guidance", -1.0),
        ("seed", -1),
    ],
)
def test_beyond_the_limits_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"'{name}' is") as caught:
        order(**{name: value})
    assert caught.value.param == name
