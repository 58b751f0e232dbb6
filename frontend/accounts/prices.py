"""Computes the cost of a request from the price table, in micro-units of money and credits. Pure.

A price applies from a time on. The most specific one applies: of the model at its upstream, then of
the model, then of every model (`*`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from frontend.accounts.credits import CREDIT
from frontend.domain.usage import Usage

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-units of money per million tokens, and per image and request; credits in millionths."""

    model: str = "*"
    upstream: str = "*"
    from_us: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    image: int = 0
    request: int = 0
    credits: int = CREDIT

    def cost(self, usage: Usage, images: int = 0) -> int:
        """The cost in micro-units, rounded half up once for the whole request."""
        fresh = max(usage.prompt_tokens - usage.cached_tokens, 0)
        cached = usage.prompt_tokens - fresh
        tokens = self.prompt * fresh + self.cached * cached
        tokens += self.completion * usage.completion_tokens
        # integers, since sums of floats depend on their order
        return (tokens + _MILLION // 2) // _MILLION + self.image * images + self.request


FREE = Price()
"""Where the table has nothing: no money, and one credit for each request."""


def price_of(prices: Iterable[Price], model: str, upstream: str, now_us: int) -> Price:
    """The price of a request that begins now."""
    fitting = [
        price
        for price in prices
        if price.model in (model, "*") and price.upstream in (upstream, "*")
        and price.from_us <= now_us
    ]  # fmt: skip
    return max(
        fitting, key=lambda one: (one.model != "*", one.upstream != "*", one.from_us), default=FREE
    )
