"""Every route with its request body and an example that runs. `build` makes a document of it."""

from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from frontend.dialects.admin import allowances, backends, canaries
from frontend.dialects.admin import bodies as admin
from frontend.dialects.admin.cache import PurgeBody
from frontend.dialects.admin.charts import ChartBody
from frontend.dialects.admin.models import ModelChangeBody
from frontend.dialects.anthropic.bodies import CountBody, MessagesBody
from frontend.dialects.ollama.bodies import ChatBody as OllamaChatBody
from frontend.dialects.ollama.bodies import GenerateBody
from frontend.dialects.ollama.embed import EmbedBody, EmbeddingsBody
from frontend.dialects.ollama.models import NameBody
from frontend.dialects.openai.batches import BatchBody
from frontend.dialects.openai.chat import ChatBody
from frontend.dialects.openai.completions import CompletionBody
from frontend.dialects.openai.embeddings import EmbeddingBody
from frontend.dialects.openai.images import ImageBody
from frontend.dialects.openai.rerank import RerankBody, ScoreBody
from frontend.dialects.openai.response_body import ResponseBody
from frontend.dialects.openai.tokens import DetokenizeBody, TokenizeBody


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `example` names a kind of model where the request has `model`."""

    method: str
    path: str
    summary: str
    body: type[Struct] | None = None
    example: dict[str, Any] | None = None
    kind: str = ""
    answer: tuple[str, ...] = ()
    media: str = "application/json"
    also: str = ""
    """Another media type of the answer."""
    refuses: bool = False
    query: tuple[str, ...] = ()
    status: str = "200"
    also_status: str = ""
    """Of an answer that comes before the work is done."""

    @property
    def tag(self) -> str:
        """Whose protocol it is."""
        if self.path.startswith("/api/"):
            return "Ollama"
        if self.path.startswith("/v1/messages"):
            return "Anthropic"
        if self.path.startswith(_ACCOUNTS):
            return "Accounts"
        return "OpenAI" if self.path.startswith("/v1") else "Gateway"


_HI = [{"role": "user", "content": "Say hello."}]
_ACCOUNTS = ("/admin/", "/me", "/key-requests")
_REPORT = ("start", "end", "interval", "tz", "by", "format", "model")
_OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
_SEARCH = (
    "start", "end", "tz", "model", "status", "text", "request_id", "format", "content",
)  # fmt: skip
_PAGE = ("object", "data", "has_more", "next_after")
_OBJECT = ("id", "object")
_SSE, _NDJSON = "text/event-stream", "application/x-ndjson"
_CHAT: dict[str, Any] = {"messages": _HI, "max_tokens": 8}
_RANKED: dict[str, Any] = {"query": "pets", "documents": ["a cat", "a car"]}
_SCORED: dict[str, Any] = {"queries": "pets", "documents": ["a cat", "a car"]}


def _ranking(path: str, summary: str) -> Operation:
    answer = ("id", "results")
    return Operation("POST", path, summary, RerankBody, _RANKED, "rerank", answer)


def _scoring(path: str) -> Operation:
    answer = ("id", "data", "usage")
    return Operation("POST", path, "Score pairs of texts", ScoreBody, _SCORED, "rerank", answer)


def _refused(method: str, path: str) -> Operation:
    return Operation(method, path, "Refused: the operator manages the models", refuses=True)


def _listing(path: str, summary: str, *filters: str) -> Operation:
    return Operation("GET", path, summary, answer=_PAGE, query=("limit", "after", *filters))


def _managed(path: str, noun: str, made: type[Struct], edited: type[Struct]) -> list[Operation]:
    """What can be done to one kind of object."""
    one = f"{path}/{{id}}"
    return [
        Operation("POST", path, f"Create {noun}", made, answer=_OBJECT, status="201"),
        Operation("GET", one, f"Get {noun}", answer=_OBJECT),
        Operation("PATCH", one, f"Edit {noun}", edited, answer=_OBJECT),
        Operation("DELETE", one, f"Delete {noun}", answer=("id", "deleted")),
    ]


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST", "/v1/chat/completions", "Answer a conversation", ChatBody, _CHAT, "chat",
        ("id", "choices", "usage"), also=_SSE,
    ),
    Operation(
        "POST", "/v1/completions", "Continue texts, or fill in their middle", CompletionBody,
        {"prompt": "Once upon", "max_tokens": 8}, "completion", ("id", "choices", "usage"),
        also=_SSE,
    ),
    Operation(
        "POST", "/v1/responses", "Answer, and keep the conversation for the next turn",
        ResponseBody, {"input": "Say hello.", "max_output_tokens": 8}, "chat",
        ("id", "object", "status", "output"), also=_SSE,
    ),
    Operation(
        "POST", "/v1/responses/input_tokens", "Count the tokens of a request", ResponseBody,
        {"input": "Say hello."}, "chat", ("object", "input_tokens"),
    ),
    Operation("GET", "/v1/responses/{id}", "Get a stored response", answer=("id", "output")),
    Operation("DELETE", "/v1/responses/{id}", "Delete a response", answer=("id", "deleted")),
    Operation(
        "GET", "/v1/responses/{id}/input_items", "List the input of a response", answer=("data",)
    ),
    Operation(
        "POST", "/v1/responses/{id}/cancel", "Refused: there are no background responses",
        refuses=True,
    ),
    Operation(
        "POST", "/v1/embeddings", "Embed texts or token ids", EmbeddingBody,
        {"input": ["a cat", "a dog"]}, "embedding", ("data", "model", "usage"),
    ),
    Operation(
        "POST", "/v1/images/generations", "Generate images", ImageBody,
        {"prompt": "a cat", "seed": 1}, "image", ("created", "data", "usage"), also=_SSE,
    ),
    Operation("GET", "/v1/images/files/{name}", "Get an image by its link", media="image/*"),
    Operation("POST", "/v1/images/edits", "Refused: only prompts make images", refuses=True),
    Operation(
        "POST", "/v1/images/variations", "Refused: only prompts make images", refuses=True
    ),
    Operation("GET", "/v1/models", "List the models", answer=("object", "data")),
    Operation("GET", "/v1/models/{model}", "Get one model", answer=("id", "object")),
    _ranking("/v1/rerank", "Order documents by a query"),
    _ranking("/rerank", "The same as /v1/rerank"),
    _ranking("/v2/rerank", "As in Cohere's API: the answer has the documents only on request"),
    _scoring("/v1/score"),
    _scoring("/score"),
    Operation("POST", "/v1/files", "Upload a file, as multipart/form-data", answer=("id", "bytes")),
    Operation("GET", "/v1/files", "List the files", answer=("object", "data", "has_more")),
    Operation("GET", "/v1/files/{id}", "Get one file's facts", answer=("id", "bytes", "purpose")),
    Operation("DELETE", "/v1/files/{id}", "Delete a file", answer=("id", "deleted")),
    Operation(
        "GET", "/v1/files/{id}/content", "Get a file's content", media="application/octet-stream"
    ),
    Operation(
        "POST", "/v1/batches", "Run the requests of a file within a day", BatchBody,
        answer=("id", "status", "request_counts"),
    ),
    Operation("GET", "/v1/batches", "List the batches", answer=("object", "data", "has_more")),
    Operation("GET", "/v1/batches/{id}", "Get one batch", answer=("id", "status")),
    Operation("POST", "/v1/batches/{id}/cancel", "Cancel a batch", answer=("id", "status")),
    Operation(
        "POST", "/tokenize", "Get the tokens of a text or a conversation", TokenizeBody,
        answer=("count", "max_model_len", "tokens"),
    ),
    Operation(
        "POST", "/detokenize", "Get the text of tokens", DetokenizeBody, answer=("prompt",)
    ),
    Operation("GET", "/version", "Get the version of the server", answer=("version",)),
    Operation(
        "POST", "/v1/messages", "Answer a conversation", MessagesBody, _CHAT, "chat",
        ("id", "type", "content", "usage"), also=_SSE,
    ),
    Operation(
        "POST", "/v1/messages/count_tokens", "Count the tokens of a request", CountBody,
        {"messages": _HI}, "chat", ("input_tokens",),
    ),
    Operation("GET", "/api/version", "Get the version of the protocol", answer=("version",)),
    Operation("GET", "/api/tags", "List the models", answer=("models",)),
    Operation("GET", "/api/ps", "List the loaded models", answer=("models",)),
    Operation(
        "POST", "/api/show", "Get one model", NameBody, {}, "chat", ("details", "capabilities")
    ),
    Operation(
        "POST", "/api/chat", "Answer a conversation", OllamaChatBody,
        {"messages": _HI, "stream": False, "options": {"num_predict": 8}}, "chat",
        ("model", "done"), also=_NDJSON,
    ),
    Operation(
        "POST", "/api/generate", "Continue a text, or generate an image", GenerateBody,
        {"prompt": "Once upon", "stream": False, "options": {"num_predict": 8}}, "chat",
        ("model", "done"), also=_NDJSON,
    ),
    Operation(
        "POST", "/api/embed", "Embed texts", EmbedBody, {"input": ["a cat", "a dog"]}, "embedding",
        ("model", "embeddings"),
    ),
    Operation(
        "POST", "/api/embeddings", "Embed a text", EmbeddingsBody, {"prompt": "a cat"},
        "embedding", ("embedding",),
    ),
    _refused("POST", "/api/create"),
    _refused("POST", "/api/copy"),
    _refused("POST", "/api/push"),
    _refused("POST", "/api/pull"),
    _refused("DELETE", "/api/delete"),
    _refused("POST", "/api/blobs/{digest}"),
    Operation("GET", "/", "See what is served, in a browser", media="text/html", also="text/plain"),
    Operation("GET", "/healthz", "Check that the process runs"),
    Operation("GET", "/readyz", "Check that requests can be served"),
    Operation("GET", "/health", "The same as /readyz"),
    Operation("GET", "/metrics", "Get Prometheus metrics", media="text/plain"),
    Operation("GET", "/admin/metrics", "The same as /metrics", media="text/plain"),
    Operation(
        "GET", "/admin/metrics/history", "Get the metrics of the last hour",
        answer=("interval_s", "points"),
    ),
    Operation(
        "GET", "/admin/status", "Get versions, upstreams, queue and backlog",
        answer=("checks", "version", "uptime_s", "database", "upstreams", "models", "queue",
                "backlog"),
    ),
    Operation(
        "GET", "/admin/overview", "Get what runs and waits, upstreams, GPUs and alerts",
        answer=("object", "running", "waiting", "models", "gpus", "upstreams", "alerts"),
    ),
    Operation(
        "GET", "/admin/live", "The same, every two seconds until the session ends", media=_SSE
    ),
    Operation("GET", "/admin/alerts", "List the alerts that hold at present", answer=_PAGE),
    Operation("GET", "/admin/settings", "List the settings, without secrets", answer=_PAGE),
    Operation("GET", "/docs/api", "Get this document", answer=("openapi", "paths")),
    Operation("GET", "/playground", "Try the models in a browser", media="text/html"),
    Operation("GET", "/login", "Sign in with a browser", media="text/html"),
    Operation("POST", "/login", "Begin a session, with the fields of the form", media="text/html"),
    Operation("GET", "/login/password", "See the form for a new password", media="text/html"),
    Operation("POST", "/login/password", "Replace a one-time password", media="text/html"),
    Operation("GET", "/login/code", "See the form for a second factor", media="text/html"),
    Operation("POST", "/login/code", "Enter a code of it", media="text/html"),
    Operation("GET", "/login/enrol", "See how to set one up", media="text/html"),
    Operation("POST", "/login/enrol", "Enter its first code", media="text/html"),
    Operation("GET", "/login/oidc", "Go to the sign-in provider", media="text/html"),
    Operation("GET", "/login/oidc/callback", "Come back from it", media="text/html"),
    Operation("POST", "/logout", "End the session of the cookie", answer=("signed_out",)),
    Operation("GET", "/request-key", "See the form for a first key", media="text/html"),
    Operation(
        "POST", "/charts", "Draw numbers as a chart", ChartBody,
        {"title": "tokens by day", "unit": "tokens", "labels": ["Mon", "Tue"],
         "series": [{"name": "a model", "values": [3, 5]}]},
        media="image/svg+xml",
    ),
    Operation("GET", "/dashboard", "See the own account in a browser", media="text/html"),
    Operation("GET", "/admin", "See what the gateway does in a browser", media="text/html"),
    Operation("GET", "/admin/pages/{name}", "Administer the gateway", media="text/html"),
    Operation("GET", "/static/{digest}/{name}", "Get a file of the pages", media="*/*"),
    Operation("GET", "/docs/swagger", "Try this document out", media="text/html"),
    Operation("GET", "/docs/swagger/{name}", "Get a file of that page", media="*/*"),
    _listing("/admin/organisations", "List organisations", "search", "ids"),
    *_managed(
        "/admin/organisations", "an organisation", admin.OrganisationBody, admin.OrganisationEdit
    ),
    _listing(
        "/admin/groups", "List groups", "organisation_id", "name", "search", "ids"
    ),
    *_managed("/admin/groups", "a group", admin.GroupBody, admin.GroupEdit),
    _listing("/admin/roles", "List roles"),
    *_managed("/admin/roles", "a role", admin.RoleBody, admin.RoleEdit),
    _listing(
        "/admin/users", "List users", "group_id", "role", "name", "email", "search", "ids"
    ),
    *_managed("/admin/users", "a user", admin.UserBody, admin.UserEdit),
    Operation(
        "POST", "/admin/users/{id}/password", "Set a one-time password, and get it",
        answer=("id", "password", "must_be_changed"),
    ),
    Operation(
        "DELETE", "/admin/users/{id}/second-factor", "Remove a user's second factor",
        answer=("id", "enabled"),
    ),
    _listing("/admin/keys", "List the keys of all users", "user_id", "search"),
    *_managed("/admin/keys", "a key of any user", admin.KeyBody, admin.KeyEdit),
    Operation(
        "POST", "/admin/keys/{id}/rotate", "Replace the text of a key", admin.RotationBody,
        answer=("id", "key"),
    ),
    _listing("/admin/key-requests", "List requests for keys", "status", "search", "order"),
    Operation("GET", "/admin/key-requests/{id}", "Get a request for a key", answer=_OBJECT),
    Operation(
        "POST", "/admin/key-requests/{id}/approve", "Make the account and its key",
        admin.ApprovalBody, answer=_OBJECT,
    ),
    Operation(
        "POST", "/admin/key-requests/{id}/refuse", "Refuse a request for a key",
        admin.RefusalBody, answer=_OBJECT,
    ),
    _listing(
        "/admin/events", "List changes of accounts", "actor_id", "target_id", "action", "search",
        "order",
    ),
    Operation(
        "POST", "/key-requests", "Request an account; its key works once that is approved",
        admin.FormBody, answer=("id", "status", "key"), status="202",
    ),
    Operation(
        "GET", "/key-requests/{id}", "Get the own request, with its key", answer=("id", "status")
    ),
    Operation("GET", "/me", "Get the own account", answer=_OBJECT),
    Operation("PATCH", "/me", "Edit the own account", admin.OwnEdit, answer=_OBJECT),
    Operation("POST", "/me/password", "Change the own password", admin.PasswordBody),
    Operation(
        "GET", "/me/second-factor", "Get whether a second factor is in use",
        answer=("enabled", "recovery_codes_left"),
    ),
    Operation(
        "POST", "/me/second-factor", "Begin to set a second factor up", admin.FactorBody,
        answer=("secret", "uri", "image"),
    ),
    Operation(
        "POST", "/me/second-factor/confirm", "Turn it on with its first code", admin.CodeBody,
        answer=("enabled", "recovery_codes"),
    ),
    Operation(
        "POST", "/me/second-factor/remove", "Remove it", admin.CodeBody, answer=("enabled",)
    ),
    Operation("GET", "/me/sessions", "List where one is signed in", answer=("object", "data")),
    Operation("DELETE", "/me/sessions/{id}", "End a session of one's own", answer=_OBJECT),
    Operation("POST", "/me/sessions/end-others", "End all other sessions", answer=("ended",)),
    _listing("/me/keys", "List the own keys"),
    *_managed("/me/keys", "a key of one's own", admin.OwnKeyBody, admin.KeyEdit),
    Operation(
        "POST", "/me/keys/{id}/rotate", "Replace the text of a key", admin.RotationBody,
        answer=("id", "key"),
    ),
    _listing("/admin/quotas", "List quotas", "scope_kind", "scope_id"),
    *_managed("/admin/quotas", "a quota", allowances.QuotaBody, allowances.QuotaEdit),
    Operation(
        "POST", "/admin/quotas/{id}/reset", "Count what was used as 0 from now on", answer=_OBJECT
    ),
    _listing("/admin/quota-requests", "List requests for more", "status", "user_id", "order"),
    Operation(
        "POST", "/admin/quota-requests/{id}/approve", "Grant a request for more",
        allowances.ApprovalBody, answer=_OBJECT,
    ),
    Operation(
        "POST", "/admin/quota-requests/{id}/refuse", "Refuse a request for more",
        allowances.RefusalBody, answer=_OBJECT,
    ),
    _listing("/admin/plans", "List plans", "search", "ids"),
    *_managed("/admin/plans", "a plan", allowances.PlanBody, allowances.PlanEdit),
    _listing(
        "/admin/subscriptions", "List who has which plan", "scope_kind", "scope_id", "plan_id"
    ),
    Operation(
        "POST", "/admin/subscriptions", "Give a plan, or change it", allowances.SubscriptionBody,
        answer=_OBJECT,
    ),
    Operation("DELETE", "/admin/subscriptions/{id}", "End a subscription", answer=_OBJECT),
    Operation(
        "GET", "/admin/credits", "Get a holder's credits", answer=("object", "available"),
        query=("scope_kind", "scope_id"),
    ),
    Operation(
        "POST", "/admin/credits", "Grant credits, or take them back", allowances.CreditsBody,
        answer=("object", "available"),
    ),
    _listing("/admin/prices", "List prices", "model"),
    Operation(
        "POST", "/admin/prices", "Set prices of a model", allowances.PriceBody, answer=_OBJECT,
        status="201",
    ),
    Operation("DELETE", "/admin/prices/{id}", "Delete prices", answer=_OBJECT),
    Operation(
        "GET", "/admin/usage", "Get usage by time, user, key and model; also as CSV",
        answer=(*_PAGE, "totals"), query=("limit", "after", *_REPORT, *_OWNERS),
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
        answer=(*_PAGE, "totals"), query=("limit", "after", *_REPORT, "key_id"),
    ),
    Operation("GET", "/me/credits", "List the own credits, and when the plan renews",
        answer=("object", "data"),
    ),
    Operation("GET", "/me/quotas", "List the own limits, and what they have left",
        answer=("object", "data"),
    ),
    _listing("/me/quota-requests", "List the own requests for more", "status"),
    Operation(
        "POST", "/me/quota-requests", "Request more", allowances.QuotaRequestBody, answer=_OBJECT,
        status="201",
    ),
    Operation(
        "GET", "/admin/audit/search", "Search the records of all requests; also as CSV and JSONL",
        answer=_PAGE, query=("limit", "after", "user_id", "group_id", *_SEARCH),
    ),
    Operation(
        "GET", "/admin/audit/records/{id}", "Get a record, with what its policy keeps",
        answer=_OBJECT,
    ),
    Operation(
        "GET", "/admin/audit/artifacts/{id}", "Get an image or file of a record by its SHA-256",
        media="application/octet-stream",
    ),
    Operation(
        "GET", "/me/audit", "Search the records of the own requests; also as CSV and JSONL",
        answer=_PAGE, query=("limit", "after", *_SEARCH),
    ),
    Operation("GET", "/admin/backends", "List the upstreams and how they are", answer=_PAGE),
    Operation(
        "POST", "/admin/backends/register", "Register an upstream", backends.BackendBody,
        answer=_OBJECT, status="201",
    ),
    Operation("GET", "/admin/backends/{id}", "Get an upstream and how it is", answer=_OBJECT),
    Operation(
        "PATCH", "/admin/backends/{id}", "Change a registered upstream", backends.BackendEdit,
        answer=_OBJECT,
    ),
    Operation(
        "DELETE", "/admin/backends/{id}", "Drain an upstream, and delete it when it is idle",
        answer=("id", "deleted"), query=("wait_s",),
    ),
    *(
        Operation("POST", f"/admin/backends/{{id}}/{name}", text, answer=_OBJECT)
        for name, text in (
            ("enable", "Let an upstream have requests"),
            ("disable", "Take an upstream out of use"),
            ("drain", "Send no new requests to an upstream"),
            ("refresh", "Connect to an upstream again"),
        )
    ),
    Operation("GET", "/admin/cache", "Get the figures of the response cache", answer=("enabled",)),
    Operation(
        "POST", "/admin/cache/purge", "Delete cached answers of an owner, a model, or all",
        PurgeBody, answer=("deleted",),
    ),
    _listing("/admin/models", "List the models of all upstreams", "upstream", "state"),
    Operation("GET", "/admin/models/{model}", "Get a model at every upstream", answer=_OBJECT),
    Operation(
        "POST", "/admin/models/load", "Load a model, or what changed of it", ModelChangeBody,
        answer=(*_OBJECT, "state", "upstreams"), also_status="202",
    ),
    Operation(
        "POST", "/admin/models/unload", "Unload a model when its requests have ended",
        ModelChangeBody, answer=(*_OBJECT, "state", "upstreams"), also_status="202",
    ),
    _listing("/admin/canaries", "List the names that several models share"),
    Operation(
        "POST", "/admin/canaries", "Let several models share the requests for a name",
        canaries.CanaryBody, answer=(*_OBJECT, "targets"), status="201",
    ),
    Operation(
        "GET", "/admin/canaries/{id}", "Get a canary, and how each of its models does",
        answer=(*_OBJECT, "targets"),
    ),
    Operation(
        "PATCH", "/admin/canaries/{id}", "Change the shares or the limits of a canary",
        canaries.CanaryEdit, answer=(*_OBJECT, "targets"),
    ),
    Operation(
        "POST", "/admin/canaries/{id}/promote", "Give one of the models all requests",
        canaries.PromoteBody, answer=(*_OBJECT, "targets"),
    ),
    Operation(
        "DELETE", "/admin/canaries/{id}", "End a canary: the name leads to its own model again",
        answer=("id", "deleted"),
    ),
    Operation("GET", "/me/audit/{id}", "Get a record of the own requests", answer=_OBJECT),
)  # fmt: skip
