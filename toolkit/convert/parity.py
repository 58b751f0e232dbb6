"""Compares the numbers of a conversion's result with those of its source, within a stated limit.

Texts are ordinary sentences of several lengths and scripts, which include padding and rare tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from toolkit.errors import ConvertError

SENTENCES = (
    "The capital of France is Paris, and the capital of Germany is Berlin.",
    "Water boils at 100 degrees at sea level.",
    "def add(a, b):\n    return a + b",
    "Im Frühling blühen die Kirschbäume; 春には桜が咲きます。",
    "Yes.",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age "
    "of foolishness, it was the epoch of belief, it was the epoch of incredulity.",
)

Array = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: `difference` is measured as `measure` says, and may be `tolerance` at most.

    NaN never passes.
    """

    part: str
    measure: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return bool(self.difference <= self.tolerance)


@dataclass(slots=True)
class Parity:
    """All comparisons of one conversion; with `force` a failed one is only noted."""

    force: bool = False
    checks: list[Check] = field(default_factory=list)


# not an argument: a dozen functions between would hand it on without a use for it
_current: ContextVar[Parity | None] = ContextVar("parity", default=None)


@contextmanager
def recording(force: bool) -> Iterator[Parity]:
    """Collects what is compared inside."""
    parity = Parity(force)
    token = _current.set(parity)
    try:
        yield parity
    finally:
        _current.reset(token)


def record(check: Check, message: str, hint: str = "nothing was kept") -> None:
    """Records a comparison; raises ConvertError when it failed, unless failures are accepted."""
    parity = _current.get()
    if parity is not None:
        parity.checks.append(check)
    if not check.passed and not (parity is not None and parity.force):
        raise ConvertError(message, hint=hint)


def check_close(part: str, actual: Array, expected: Array, tolerance: float) -> float:
    """Largest absolute difference; raises ConvertError above `tolerance` or if it is not a number.

    The arrays have the same shape, whatever it is.
    """
    if actual.shape != expected.shape:
        raise ConvertError(f"{part}: the shape changed from {expected.shape} to {actual.shape}")
    difference = float(np.max(np.abs(actual.astype(np.float64) - expected.astype(np.float64))))
    record(
        Check(part, "largest difference of one element", difference, tolerance),
        f"{part}: the converted model's output differs by {difference:.3g} from its source, "
        f"more than {tolerance:.3g}",
        hint="nothing was kept; try other versions of the libraries in the extra 'weights'",
    )
    return difference


def check_distributions(part: str, actual: Array, expected: Array, nats: float) -> float:
    """Largest KL divergence between next-token distributions of logits `[..., vocabulary]`.

    Raises ConvertError when it exceeds `nats`.
    """
    target, other = _log_softmax(expected), _log_softmax(actual)
    divergence = float(np.max(np.sum(np.exp(target) * (target - other), axis=-1)))
    record(
        Check(part, "largest KL divergence (nats)", divergence, nats),
        f"{part}: next-token distributions differ by {divergence:.3g} nats from the source's, "
        f"more than {nats:.3g}",
    )
    return divergence


def _log_softmax(logits: Array) -> npt.NDArray[np.float64]:
    # double precision: limits go down to 0.0001 nats, and vocabularies have 250,000 terms
    shifted = logits.astype(np.float64) - np.max(logits, axis=-1, keepdims=True)
    total = np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return np.asarray(shifted - total, dtype=np.float64)
