"""The limits for the loss of quality, and the messages when one is exceeded. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import QualityError


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit. The defaults detect broken results, not a moderate loss of quality."""

    # the roughest method, int4-rtn on a model of 135 million parameters, comes to 1.4
    max_ppl_ratio: float | None = 2.0
    max_kl: float | None = 1.0
    # MiniLM comes to 0.993 with --int8-dynamic
    min_cosine: float | None = 0.9


def failures(limits: Limits, report: dict[str, Any]) -> list[str]:
    """One sentence for each limit that the report's numbers break; NaN breaks every limit."""
    checks = [
        ("the perplexity ratio", _at(report, "perplexity", "ratio"), limits.max_ppl_ratio, True),
        ("the mean KL divergence", _at(report, "kl_nats", "mean"), limits.max_kl, True),
        ("the mean cosine", _at(report, "cosine", "mean"), limits.min_cosine, False),
    ]
    found = []
    for what, value, limit, upper in checks:
        if value is None or limit is None:
            continue
        if not (value <= limit if upper else value >= limit):
            found.append(f"{what} is {value:.4g}, {'above' if upper else 'below'} {limit:g}")
    return found


def refuse(broken: list[str], aside: Path) -> QualityError:
    """The error for a result that was moved to `aside`."""
    return QualityError(
        f"the result does not meet its limits: {'; '.join(broken)}",
        hint=f"it was kept in {aside} with its report; try another method or more calibration "
        "text, or relax the limit",
    )


def _at(report: dict[str, Any], *path: str) -> float | None:
    value: Any = report
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return None if value is None else float(value)
