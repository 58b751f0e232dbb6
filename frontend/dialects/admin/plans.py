"""Bodies and answers of the routes for plans, subscriptions, credits and prices.

Credits and money have decimals here and are integers of millionths inside. Instants are seconds.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from frontend.dialects.admin.answers import Shown, at_s
from frontend.dialects.admin.bodies import instant_us
from frontend.dialects.admin.quotas import AMOUNT, MEASURE, PERIOD, SUBJECT, Amount, Instant
from frontend.dialects.declare import Body, about
from frontend.domain.allowances import StoredPlan, StoredPrice, Subscription

MICRO = 1_000_000
Number = Annotated[int, Meta(ge=0, le=10**9)] | Annotated[float, Meta(ge=0, le=1e9)]
Signed = Annotated[int, Meta(ge=-(10**9), le=10**9)] | Annotated[float, Meta(ge=-1e9, le=1e9)]


class QuotaOfPlan(Body, kw_only=True):
    """A limit of every subscriber."""

    measure: Annotated[str, MEASURE]
    period: Annotated[str, PERIOD]
    amount: Annotated[Amount, AMOUNT]


class PlanEdit(Body, kw_only=True):
    """Changes of a plan."""

    credits: Annotated[
        Number | UnsetType | None, about("Credits per calendar month; null: unlimited.")
    ] = UNSET
    shared: Annotated[
        bool | UnsetType, about("Whether the members of a group or organisation share one pool.")
    ] = UNSET
    quotas: Annotated[
        list[QuotaOfPlan] | UnsetType, about("Limits of every subscriber, for fair use.")
    ] = UNSET


class PlanBody(Body, kw_only=True):
    """A new plan."""

    name: Annotated[str, about("The name, unique among plans.")]
    credits: Annotated[Number | None, about("Credits per calendar month. Default: unlimited.")] = (
        None
    )
    shared: Annotated[
        bool, about("Whether the members of a group or organisation share one pool.")
    ] = False
    quotas: Annotated[
        list[QuotaOfPlan] | UnsetType, about("Limits of every subscriber, for fair use.")
    ] = UNSET


class SubscriptionBody(Body, kw_only=True):
    """A new subscription: a holder and a plan."""

    scope_kind: Annotated[str, about("The kind of subscriber: organisation, group or user.")]
    scope_id: Annotated[str, SUBJECT]
    plan_id: Annotated[str, about("The plan's id.")]


class CreditsBody(Body, kw_only=True):
    """Credits for a holder."""

    scope_kind: Annotated[str, about("The kind of subscriber: organisation, group or user.")]
    scope_id: Annotated[str, SUBJECT]
    credits: Annotated[Signed, about("How many are granted; a negative number takes credits back.")]
    note: Annotated[str, about("The reason, for the ledger.")] = ""


class PriceBody(Body, kw_only=True):
    """New prices of a model."""

    model: Annotated[str, about("The model, or '*' for all.")]
    upstream: Annotated[str, about("The upstream that serves it, or '*' for all.")] = "*"
    starts_at: Annotated[
        Instant | None, about("When it takes effect, in seconds since 1970. Default: now.")
    ] = None
    prompt: Annotated[Number, about("Per million prompt tokens.")] = 0
    cached: Annotated[Number, about("Per million prompt tokens from the cache.")] = 0
    completion: Annotated[Number, about("Per million completion tokens.")] = 0
    image: Annotated[Number, about("Per image.")] = 0
    request: Annotated[Number, about("Per request.")] = 0
    credits: Annotated[Number, about("Credits per request.")] = 1


def micro(value: float) -> int:
    """Millionths, rounded."""
    return round(value * MICRO)


def columns_of_price(body: PriceBody) -> dict[str, Any]:
    """The price columns of a body, without the model."""
    names = ("prompt", "cached", "completion", "image", "request", "credits")
    values: dict[str, Any] = {f"{name}_micro": micro(getattr(body, name)) for name in names}
    values["upstream"] = body.upstream
    if body.starts_at is not None:
        values["starts_at_us"] = instant_us(body.starts_at)
    return values


def changes_of_plan(body: PlanBody | PlanEdit) -> dict[str, Any]:
    """The columns that an edit of a plan changes."""
    values: dict[str, Any] = {}
    if body.credits is not UNSET:
        values["credits_micro"] = None if body.credits is None else micro(body.credits)
    if body.shared is not UNSET:
        values["shared"] = body.shared
    if body.quotas is not UNSET:
        values["quotas"] = [[one.measure, one.period, one.amount] for one in body.quotas]
    return values


def values_of_plan(body: PlanBody) -> dict[str, Any]:
    """The columns of a new plan."""
    return {"shared": False, "quotas": [], "credits_micro": None} | changes_of_plan(body)


def show_plan(one: StoredPlan) -> Shown:
    """A plan."""
    return {
        "id": one.id,
        "object": "plan",
        "name": one.name,
        "credits": None if one.credits_micro is None else one.credits_micro / MICRO,
        "shared": one.shared,
        "quotas": [dict(zip(("measure", "period", "amount"), q, strict=True)) for q in one.quotas],
        "built_in": one.built_in,
    }


def show_subscription(one: Subscription) -> Shown:
    """A subscription."""
    return {
        "id": one.id,
        "object": "subscription",
        "scope_kind": one.scope_kind,
        "scope_id": one.scope_id,
        "plan_id": one.plan_id,
        "next_plan_id": one.next_plan_id,
        "period_starts_at": at_s(one.period_starts_at_us),
        "period_ends_at": at_s(one.period_ends_at_us),
    }


def show_credits(kind: str, holder: str, balances: dict[str, int]) -> Shown:
    """The balances of a holder."""
    # `granted` is where credits come from, so its balance is negative
    shown = {name: abs(amount) / MICRO for name, amount in balances.items()}
    return {"object": "credits", "scope_kind": kind, "scope_id": holder, **shown}


def show_price(one: StoredPrice) -> Shown:
    """Prices of a model."""
    return {
        "id": one.id,
        "object": "price",
        "model": one.model,
        "upstream": one.upstream,
        "starts_at": at_s(one.starts_at_us),
        "prompt": one.prompt_micro / MICRO,
        "cached": one.cached_micro / MICRO,
        "completion": one.completion_micro / MICRO,
        "image": one.image_micro / MICRO,
        "request": one.request_micro / MICRO,
        "credits": one.credits_micro / MICRO,
    }
