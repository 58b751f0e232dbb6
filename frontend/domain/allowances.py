"""Quotas, requests for higher quotas, plans, subscriptions and prices, as administrators set them.

Instants are microseconds since 1970 in UTC; credits and money are integer millionths.
"""

from dataclasses import dataclass
from typing import Any

STATUSES = ("pending", "approved", "refused", "expired")
"""Of requests for higher quotas."""


@dataclass(frozen=True, slots=True)
class Quota:
    """`amount` of `measure` per `period` for one subject. A `model` of "": every model."""

    id: str
    scope_kind: str
    scope_id: str
    model: str
    measure: str
    period: str
    amount: int
    created_at_us: int
    expires_at_us: int | None = None
    created_by: str | None = None


@dataclass(frozen=True, slots=True)
class NewQuota:
    """The values of a quota."""

    scope_kind: str
    scope_id: str
    measure: str
    period: str
    amount: int
    model: str = ""
    expires_at_us: int | None = None

    @property
    def what(self) -> dict[str, str]:
        """The usage that it counts, and whose."""
        names = ("scope_kind", "scope_id", "model", "measure", "period")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class QuotaRequest:
    """A user's request for a higher quota. `expires_at_us`: until when; None: without an end."""

    id: str
    user_id: str
    scope_kind: str
    scope_id: str
    model: str
    measure: str
    period: str
    amount: int
    reason: str
    status: str
    created_at_us: int
    note: str | None = None
    quota_id: str | None = None
    decided_by: str | None = None
    decided_at_us: int | None = None
    expires_at_us: int | None = None
    answer_seen_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """`credits_micro` per calendar month; None: unlimited. `quotas`: measure, period, amount."""

    id: str
    name: str
    credits_micro: int | None
    shared: bool
    quotas: list[list[Any]]
    built_in: bool
    created_at_us: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who has which plan. `next_plan_id` begins with the next period."""

    id: str
    scope_kind: str
    scope_id: str
    plan_id: str
    next_plan_id: str | None
    started_at_us: int
    period_starts_at_us: int
    period_ends_at_us: int


@dataclass(frozen=True, slots=True)
class StoredPrice:
    """Prices per million tokens, per image and per request, from a time on."""

    id: str
    model: str
    upstream: str
    starts_at_us: int
    prompt_micro: int
    cached_micro: int
    completion_micro: int
    image_micro: int
    request_micro: int
    credits_micro: int
