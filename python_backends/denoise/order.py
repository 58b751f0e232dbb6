"""The parameters of an image request, checked against the model's limits."""

import secrets
from dataclasses import dataclass
from typing import Any

from python_backends.errors import InvalidInput
from python_backends.triton import Arrays, scalar

_SEED_LIMIT = 2**63
"""Seeds are INT64 and not negative; image `i` has seed `seed + i`, modulo this."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults and bounds of an image request, from the step's parameter `image`."""

    width: int
    height: int
    multiple_of: int = 8
    max_size: int = 1024
    steps: int = 20
    max_steps: int = 100
    guidance: float = 7.5
    max_count: int = 4
    max_guidance: float = 50.0


@dataclass(frozen=True, slots=True)
class Order:
    """One request with all defaults filled in."""

    steps: int
    guidance: float
    width: int
    height: int
    seed: int
    count: int
    stop_after: int | None = None
    """Steps after which to tell what the image seems to become; None for all."""

    @property
    def seeds(self) -> list[int]:
        """A seed for each image, so that an image does not depend on the number of images."""
        return [(self.seed + number) % _SEED_LIMIT for number in range(self.count)]


def read_order(arrays: Arrays, limits: Limits) -> Order:
    """Reads a request's tensors. Raises InvalidInput for values beyond the limits."""

    def value(name: str, default: Any) -> Any:
        given = scalar(arrays, name)
        return default if given is None else given

    order = Order(
        steps=value("steps", limits.steps),
        guidance=value("guidance", limits.guidance),
        width=value("width", limits.width),
        height=value("height", limits.height),
        # 32 bits, so that a client whose numbers are doubles can repeat it exactly
        seed=value("seed", secrets.randbelow(2**32)),
        count=value("count", 1),
        stop_after=value("stop_after", None),
    )
    _check_range("steps", order.steps, 1, limits.max_steps)
    if order.stop_after is not None:
        _check_range("stop_after", order.stop_after, 1, order.steps)
    _check_range("guidance", order.guidance, 0.0, limits.max_guidance)
    _check_range("seed", order.seed, 0, _SEED_LIMIT - 1)
    _check_range("count", order.count, 1, limits.max_count)
    for name, size in (("width", order.width), ("height", order.height)):
        _check_range(name, size, limits.multiple_of, limits.max_size)
        if size % limits.multiple_of:
            raise InvalidInput(
                f"'{name}' is {size} and must be a multiple of {limits.multiple_of}", param=name
            )
    return order


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN fails too
        raise InvalidInput(f"'{name}' is {value}; it must be from {low} to {high}", param=name)
