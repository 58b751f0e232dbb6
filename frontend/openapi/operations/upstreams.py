"""The operations on audit records, upstreams, models and the cache."""

from frontend.dialects.admin import backends, canaries
from frontend.dialects.admin.cache import PurgeBody
from frontend.dialects.admin.models import ModelChangeBody
from frontend.openapi.operations.operation import OBJECT, PAGE, Operation, listing

_SEARCH = (
    "start", "end", "tz", "model", "status", "text", "request_id", "format", "content",
)  # fmt: skip


UPSTREAMS: tuple[Operation, ...] = (
    Operation(
        "GET", "/admin/audit/search",
        "Search the audit records of all requests; also as CSV and JSONL",
        answer=PAGE, query=("limit", "after", "user_id", "group_id", *_SEARCH),
    ),
    Operation(
        "GET", "/admin/audit/records/{id}",
        "Get an audit record, with the texts that its policy keeps",
        answer=OBJECT,
    ),
    Operation(
        "GET", "/admin/audit/artifacts/{id}",
        "Get an image or file of an audit record by its SHA-256",
        media="application/octet-stream",
    ),
    Operation(
        "GET", "/me/audit", "Search the audit records of your own requests; also as CSV and JSONL",
        answer=PAGE, query=("limit", "after", *_SEARCH),
    ),
    Operation("GET", "/admin/backends", "List the upstreams and their state", answer=PAGE),
    Operation(
        "POST", "/admin/backends/register", "Register an upstream", backends.BackendBody,
        answer=OBJECT, status="201",
    ),
    Operation("GET", "/admin/backends/{id}", "Get an upstream and its state", answer=OBJECT),
    Operation(
        "PATCH", "/admin/backends/{id}", "Change a registered upstream", backends.BackendEdit,
        answer=OBJECT,
    ),
    Operation(
        "DELETE", "/admin/backends/{id}", "Drain an upstream, and delete it when it is idle",
        answer=("id", "deleted"), query=("wait_s",),
    ),
    *(
        Operation("POST", f"/admin/backends/{{id}}/{name}", text, answer=OBJECT)
        for name, text in (
            ("enable", "Enable an upstream"),
            ("disable", "Disable an upstream"),
            ("drain", "Stop sending new requests to an upstream"),
            ("refresh", "Connect to an upstream again"),
        )
    ),
    Operation("GET", "/admin/cache", "Get statistics of the response cache", answer=("enabled",)),
    Operation(
        "POST", "/admin/cache/purge", "Delete cached answers of an owner, a model, or all",
        PurgeBody, answer=("deleted",),
    ),
    listing("/admin/models", "List the models of all upstreams", "upstream", "state"),
    Operation("GET", "/admin/models/{model}", "Get a model at every upstream", answer=OBJECT),
    Operation(
        "POST", "/admin/models/load", "Load a model, or load its changes", ModelChangeBody,
        answer=(*OBJECT, "state", "upstreams"), also_status="202",
    ),
    Operation(
        "POST", "/admin/models/unload", "Unload a model when its requests have ended",
        ModelChangeBody, answer=(*OBJECT, "state", "upstreams"), also_status="202",
    ),
    listing("/admin/canaries", "List the canaries"),
    Operation(
        "POST", "/admin/canaries",
        "Create a canary: split the requests for a name between several models",
        canaries.CanaryBody, answer=(*OBJECT, "targets"), status="201",
    ),
    Operation(
        "GET", "/admin/canaries/{id}", "Get a canary and the results of each of its models",
        answer=(*OBJECT, "targets"),
    ),
    Operation(
        "PATCH", "/admin/canaries/{id}", "Change the shares or the limits of a canary",
        canaries.CanaryEdit, answer=(*OBJECT, "targets"),
    ),
    Operation(
        "POST", "/admin/canaries/{id}/promote", "Send all requests to one of the models",
        canaries.PromoteBody, answer=(*OBJECT, "targets"),
    ),
    Operation(
        "DELETE", "/admin/canaries/{id}", "End a canary: the name refers to its own model again",
        answer=("id", "deleted"),
    ),
    Operation(
        "GET", "/me/audit/{id}", "Get an audit record of one of your own requests", answer=OBJECT
    ),
)  # fmt: skip
