"""What the response cache may do: the operator's policy, and what one request asks for."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

Mode = Literal["off", "asked", "deterministic"]
OwnerScope = Literal["key", "user", "group", "organisation"]
CACHE = "cache"
"""The upstream of requests that were answered from the cache, in usage, audit and prices."""
MAX_TTL_S = 30 * 86400


@dataclass(frozen=True, slots=True)
class CacheRule:
    """A group's rules, which replace the settings. None: the setting applies."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 (pydantic reads it)

    mode: Mode | None = None
    scope: OwnerScope | None = None
    ttl_s: Annotated[int, Gt(0), Le(MAX_TTL_S)] | None = None
    price: Annotated[float, Ge(0), Le(1)] | None = None


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """`mode`: off; only requests that ask; or also all whose answer is determined. `scope`: who
    shares answers. `price`: the part of the tokens that a hit costs in quotas."""

    mode: Mode = "off"
    scope: OwnerScope = "user"
    ttl_s: int = 3600
    price: float = 0.0

    def with_rule(self, rule: CacheRule) -> "CachePolicy":
        """The policy of a group with that rule."""
        return CachePolicy(
            rule.mode or self.mode,
            rule.scope or self.scope,
            rule.ttl_s or self.ttl_s,
            self.price if rule.price is None else rule.price,
        )


@dataclass(frozen=True, slots=True)
class CacheAsk:
    """What a request asks of the cache. `use`: also for an answer that is not determined.
    `max_age_s`: no older answer; `ttl_s`: how long its own is kept at most."""

    use: bool = False
    read: bool = True
    store: bool = True
    max_age_s: int | None = None
    ttl_s: int | None = None


NOT_ASKED = CacheAsk()


@dataclass(slots=True)
class CacheUse:
    """What became of a request in the cache, for its header: each of its parts is a hit or not."""

    ask: CacheAsk = NOT_ASKED
    hits: int = 0
    misses: int = 0
    bypassed: bool = False

    @property
    def result(self) -> str:
        """The value of `x-cache`; "": the cache has nothing to do with the request."""
        if self.misses:
            return "miss"
        if self.hits:
            return "bypass" if self.bypassed else "hit"
        return "bypass" if self.bypassed or self.ask != NOT_ASKED else ""
