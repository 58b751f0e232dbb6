"""The operations on quotas, plans, credits, prices, usage and the queue."""

from frontend.dialects.admin import plans, quotas
from frontend.openapi.operations.operation import OBJECT, PAGE, Operation, listing, managed

_REPORT = ("start", "end", "interval", "tz", "by", "format", "model", "order")
_OWNERS = ("organisation_id", "group_id", "user_id", "key_id")


ALLOWANCES: tuple[Operation, ...] = (
    listing("/admin/quotas", "List quotas", "scope_kind", "scope_id"),
    *managed("/admin/quotas", "a quota", quotas.QuotaBody, quotas.QuotaEdit),
    Operation(
        "POST", "/admin/quotas/{id}/reset", "Reset the used amount of a quota to 0", answer=OBJECT
    ),
    listing("/admin/quota-requests", "List requests for a higher quota", "status", "user_id",
    "order"),
    Operation(
        "POST", "/admin/quota-requests/{id}/approve", "Grant a request for a higher quota",
        quotas.ApprovalBody, answer=OBJECT,
    ),
    Operation(
        "POST", "/admin/quota-requests/{id}/refuse", "Refuse a request for a higher quota",
        quotas.RefusalBody, answer=OBJECT,
    ),
    listing("/admin/plans", "List plans", "search", "ids"),
    *managed("/admin/plans", "a plan", plans.PlanBody, plans.PlanEdit),
    listing(
        "/admin/subscriptions", "List subscriptions", "scope_kind", "scope_id", "plan_id"
    ),
    Operation(
        "POST", "/admin/subscriptions", "Assign or change a plan", plans.SubscriptionBody,
        answer=OBJECT,
    ),
    Operation("DELETE", "/admin/subscriptions/{id}", "End a subscription", answer=OBJECT),
    Operation(
        "GET", "/admin/credits", "Get a holder's credits", answer=("object", "available"),
        query=("scope_kind", "scope_id"),
    ),
    Operation(
        "POST", "/admin/credits", "Grant credits; a negative amount takes them back",
        plans.CreditsBody,
        answer=("object", "available"),
    ),
    listing("/admin/prices", "List prices", "model"),
    Operation(
        "POST", "/admin/prices", "Set the prices of a model", plans.PriceBody, answer=OBJECT,
        status="201",
    ),
    Operation("DELETE", "/admin/prices/{id}", "Delete prices", answer=OBJECT),
    Operation(
        "GET", "/admin/usage", "Get usage by time, user, key and model; also as CSV",
        answer=(*PAGE, "totals"), query=("limit", "after", *_REPORT, *_OWNERS),
    ),
    Operation(
        "GET", "/admin/queue", "Get the queue: positions, deficits, weights and waiting times",
        answer=("object", "flows", "groups"),
    ),
    Operation(
        "GET", "/admin/queue/decisions",
        "List the scheduler's last decisions, with the terms of each",
        answer=("object", "data"), query=("limit", "user_id", "model"),
    ),
    Operation(
        "GET", "/me/usage", "Get your own usage by time, key and model; also as CSV",
        answer=(*PAGE, "totals"), query=("limit", "after", *_REPORT, "key_id"),
    ),
    Operation("GET", "/me/credits", "List your own credits and when the plan renews",
        answer=("object", "data"),
    ),
    Operation("GET", "/me/quotas", "List your own limits and what is left of each",
        answer=("object", "data"),
    ),
    listing("/me/quota-requests", "List your own requests for a higher quota", "status"),
    Operation(
        "POST", "/me/quota-requests", "Request a higher quota",
        quotas.QuotaRequestBody, answer=OBJECT,
        status="201",
    ),
    Operation(
        "POST", "/me/quota-requests/{id}/seen", "Note that you have seen the decision on a request",
        answer=OBJECT,
    ),
)  # fmt: skip
