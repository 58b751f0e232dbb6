"""Bodies and answers of the routes for quotas, and for users' requests for higher quotas.

Instants are seconds since 1970.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from frontend.dialects.admin.answers import Shown, at_s
from frontend.dialects.admin.bodies import instant_us
from frontend.dialects.declare import Body, about
from frontend.domain.allowances import NewQuota, Quota, QuotaRequest

Amount = Annotated[int, Meta(ge=0, le=10**15)]
Instant = Annotated[int, Meta(ge=0, le=2**33)]
AMOUNT = about("The maximum that may be used in a period.")
MEASURE = about("What is limited: requests, tokens or concurrency.")
PERIOD = about(
    "minute, day, week, month or year in UTC, a rolling period such as 30d or 12h, or none."
)
SUBJECT = about("The id of the organisation, group, user or key.")
_EXPIRES = about("When it ends, in seconds since 1970. Default: never.")
_MODEL = about("The model that it limits. Default: every model.")
_KIND = about("What it limits: an organisation, group, user or key.")


class QuotaBody(Body, kw_only=True):
    """A new quota."""

    scope_kind: Annotated[str, _KIND]
    scope_id: Annotated[str, SUBJECT]
    measure: Annotated[str, MEASURE] = "tokens"
    period: Annotated[str, PERIOD] = "month"
    amount: Annotated[Amount, AMOUNT] = 100_000
    model: Annotated[str | None, _MODEL] = None
    expires_at: Annotated[Instant | None, _EXPIRES] = None


class QuotaEdit(Body, kw_only=True):
    """Changes of a quota."""

    amount: Annotated[Amount | UnsetType, AMOUNT] = UNSET
    expires_at: Annotated[Instant | UnsetType | None, _EXPIRES] = UNSET


class QuotaRequestBody(Body, kw_only=True):
    """A request for a higher quota."""

    amount: Annotated[Amount, about("The total amount that is needed.")]
    reason: Annotated[str, about("The reason for the request.")]
    measure: Annotated[str, MEASURE] = "tokens"
    period: Annotated[str, PERIOD] = "month"
    model: Annotated[str | None, _MODEL] = None
    expires_at: Annotated[
        Instant | None, about("How long it is needed, in seconds since 1970.")
    ] = None


class ApprovalBody(Body, kw_only=True):
    """The approval of a request for a larger quota."""

    amount: Annotated[Amount | None, about("The amount to grant. Default: the requested one.")] = (
        None
    )
    expires_at: Annotated[
        Instant | UnsetType | None,
        about("When it ends, in seconds since 1970; null: never. Default: as requested."),
    ] = UNSET


class RefusalBody(Body, kw_only=True):
    """The refusal of a request."""

    note: Annotated[str, about("The reason, for the user.")] = ""


def quota_of(body: QuotaBody) -> NewQuota:
    """The quota that an administrator sets."""
    return _new_quota(body, body.scope_kind, body.scope_id)


def requested_quota_of(body: QuotaRequestBody, user_id: str) -> NewQuota:
    """The quota that a user requests."""
    return _new_quota(body, "user", user_id)


def _new_quota(body: QuotaBody | QuotaRequestBody, kind: str, holder: str) -> NewQuota:
    end_us = instant_us(body.expires_at)
    return NewQuota(kind, holder, body.measure, body.period, body.amount, body.model or "", end_us)


def changes_of_quota(body: QuotaEdit) -> dict[str, Any]:
    """The columns that an edit changes."""
    values: dict[str, Any] = {}
    if body.amount is not UNSET:
        values["amount"] = body.amount
    if body.expires_at is not UNSET:
        values["expires_at_us"] = instant_us(body.expires_at)
    return values


def end_of_approval(body: ApprovalBody, as_asked: int) -> int | None:
    """When the granted quota ends, in microseconds; None: never."""
    return as_asked if body.expires_at is UNSET else instant_us(body.expires_at)


def show_quota(one: Quota) -> Shown:
    """A quota."""
    return {"id": one.id, "object": "quota", **_what(one)}


def show_quota_request(one: QuotaRequest) -> Shown:
    """A request for a higher quota."""
    return {
        "id": one.id,
        "object": "quota_request",
        "status": one.status,
        "user_id": one.user_id,
        **_what(one),
        "reason": one.reason,
        "note": one.note,
        "quota_id": one.quota_id,
        "decided_at": at_s(one.decided_at_us),
        "decided_by": one.decided_by,
    }


def _what(one: Quota | QuotaRequest) -> Shown:
    return {
        "scope_kind": one.scope_kind,
        "scope_id": one.scope_id,
        "model": one.model or None,
        "measure": one.measure,
        "period": one.period,
        "amount": one.amount,
        "created_at": at_s(one.created_at_us),
        "expires_at": at_s(one.expires_at_us),
    }
