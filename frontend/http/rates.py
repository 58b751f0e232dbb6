"""Writes the headers with the remaining amounts of a caller's limits.

OpenAI's names and durations, and Anthropic's for its dialect. Of several limits the one that has
the least left is shown; where a caller has no limit, there is no header.
"""

from frontend.accounts.windows import SECOND_US, iso
from frontend.domain.metering import Rate, Rates
from frontend.domain.request import Dialect

Headers = list[tuple[bytes, bytes]]
_PARTS = [(p, what) for what in ("requests", "tokens") for p in ("limit", "remaining", "reset")]
SHOWN = (
    *("x-request-id", "request-id", "openai-processing-ms", "warning"),
    *("retry-after", "retry-after-ms", "x-should-retry", "x-queue-position", "x-cache"),
    *("x-served-model", "x-usage-estimated", "x-error-code"),
    *(f"x-ratelimit-{part}-{what}" for part, what in _PARTS),
    *(f"anthropic-ratelimit-{what}-{part}" for part, what in _PARTS),
)
"""Headers of answers that a web page may read, besides those that it always may."""


def rate_headers(rates: Rates, dialect: Dialect, now_us: int) -> Headers:
    """For requests and for tokens."""
    headers: Headers = []
    for what, rate in ((b"requests", rates.requests), (b"tokens", rates.tokens)):
        if rate is not None:
            headers += _openai(what, rate)
            if dialect is Dialect.ANTHROPIC:
                headers += _anthropic(what, rate, now_us)
    return headers


def _openai(what: bytes, rate: Rate) -> Headers:
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % rate.limit),
        (b"x-ratelimit-remaining-" + what, b"%d" % rate.remaining),
        (b"x-ratelimit-reset-" + what, duration(rate.reset_us).encode()),
    ]


def _anthropic(what: bytes, rate: Rate, now_us: int) -> Headers:
    return [
        (b"anthropic-ratelimit-" + what + b"-limit", b"%d" % rate.limit),
        (b"anthropic-ratelimit-" + what + b"-remaining", b"%d" % rate.remaining),
        (b"anthropic-ratelimit-" + what + b"-reset", iso(now_us + rate.reset_us).encode()),
    ]


def duration(length_us: int) -> str:
    """As Go writes it, which OpenAI's API does: `6m0s`, `1.5s`, `20ms`."""
    if length_us < SECOND_US:
        # up: a client that waits a moment too short is refused again
        return f"{-(-length_us // 1000)}ms" if length_us else "0s"
    minutes, rest_us = divmod(length_us, 60 * SECOND_US)
    # `g` drops zeros at the end, as Go does
    seconds = f"{round(rest_us / SECOND_US, 3):g}s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds
