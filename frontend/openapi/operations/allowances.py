"""The operations on quotas, plans, credits, prices, usage and the queue."""

from frontend.dialects.admin import allowances
from frontend.openapi.operations.operation import OBJECT, PAGE, Operation, listing, managed

_REPORT = ("start", "end", "interval", "tz", "by", "format", "model")
_OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
_SEARCH = (
    "start", "end", "tz", "model", "status", "text", "request_id", "format", "content",
)  # fmt: skip
_OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
_SEARCH = (
    "start", "end", "tz", "model", "status", "text", "request_id", "format", "content",
)  # fmt: skip


ALLOWANCES: tuple[Operation, ...] = (
    listing("/admin/quotas", "List quotas", "scope_kind", "scope_id"),
    *managed("/admin/quotas", "a quota", allowances.QuotaBody, allowances.QuotaEdit),
    Operation(
        "POST", "/admin/quotas/{id}/reset", "Count what was used as 0 from now on", answer=OBJECT
    ),
    listing("/admin/quota-requests", "List requests for more", "status", "user_id", "order"),
    Operation(
        "POST", "/admin/quota-requests/{id}/approve", "Grant a request for more",
        allowances.ApprovalBody, answer=OBJECT,
    ),
    Operation(
        "POST", "/admin/quota-requests/{id}/refuse", "Refuse a request for more",
        allowances.RefusalBody, answer=OBJECT,
    ),
    listing("/admin/plans", "List plans", "search", "ids"),
    *managed("/admin/plans", "a plan", allowances.PlanBody, allowances.PlanEdit),
    listing(
        "/admin/subscriptions", "List who has which plan", "scope_kind", "scope_id", "plan_id"
    ),
    Operation(
        "POST", "/admin/subscriptions", "Give a plan, or change it", allowances.SubscriptionBody,
        answer=OBJECT,
    ),
    Operation("DELETE", "/admin/subscriptions/{id}", "End a subscription", answer=OBJECT),
    Operation(
        "GET", "/admin/credits", "Get a holder's credits", answer=("object", "available"),
        query=("scope_kind", "scope_id"),
    ),
    Operation(
        "POST", "/admin/credits", "Grant credits, or take them back", allowances.CreditsBody,
        answer=("object", "available"),
    ),
    listing("/admin/prices", "List prices", "model"),
    Operation(
        "POST", "/admin/prices", "Set prices of a model", allowances.PriceBody, answer=OBJECT,
        status="201",
    ),
    Operation("DELETE", "/admin/prices/{id}", "Delete prices", answer=OBJECT),
    Operation(
        "GET", "/admin/usage", "Get usage by time, user, key and model; also as CSV",
        answer=(*PAGE, "totals"), query=("limit", "after", *_REPORT, *_OWNERS),
    ),
    Operation(
        "GET", "/admin/queue", "Show who waits for models: positions, deficits, weights and waits",
        answer=("object", "flows", "groups"),
    ),
    Operation(
        "GET", "/admin/queue/decisions", "List the last decisions of the scheduler, with each term",
        answer=("object", "data"), query=("limit", "user_id", "model"),
    ),
    Operation(
        "GET", "/me/usage", "Get the own usage by time, key and model; also as CSV",
        answer=(*PAGE, "totals"), query=("limit", "after", *_REPORT, "key_id"),
    ),
    Operation("GET", "/me/credits", "List the own credits, and when the plan renews",
        answer=("object", "data"),
    ),
    Operation("GET", "/me/quotas", "List the own limits, and what they have left",
        answer=("object", "data"),
    ),
    listing("/me/quota-requests", "List the own requests for more", "status"),
    Operation(
        "POST", "/me/quota-requests", "Request more", allowances.QuotaRequestBody, answer=OBJECT,
        status="201",
    ),
)  # fmt: skip
