"""The gateway's own operations: health, metrics, sign-in and pages."""

from frontend.dialects.admin.charts import ChartBody
from frontend.openapi.operations.operation import PAGE, SSE, Operation

GATEWAY: tuple[Operation, ...] = (
    Operation(
        "GET", "/", "Show what is served, in a browser", media="text/html", also="text/plain"
    ),
    Operation(
        "GET", "/status", "Get what the page at / shows: load, expected wait, models, 90 days",
        answer=("object", "ready", "running", "waiting", "expected_wait_s", "models", "uptime",
                "days"),
    ),
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
        "GET", "/admin/overview", "Get running and waiting requests, upstreams, GPUs and alerts",
        answer=("object", "running", "waiting", "models", "gpus", "upstreams", "alerts"),
    ),
    Operation(
        "GET", "/admin/live", "Stream /admin/overview every two seconds until the session ends",
        media=SSE
    ),
    Operation("GET", "/admin/alerts", "List the active alerts", answer=PAGE),
    Operation("GET", "/admin/settings", "List the settings, without secrets", answer=PAGE),
    Operation("GET", "/docs/api", "Get this OpenAPI document", answer=("openapi", "paths")),
    Operation("GET", "/playground", "Try the models in a browser", media="text/html"),
    Operation("GET", "/login", "Sign in with a browser", media="text/html"),
    Operation("POST", "/login", "Begin a session with the fields of the form", media="text/html"),
    Operation("GET", "/login/password", "Show the form for a new password", media="text/html"),
    Operation("POST", "/login/password", "Replace a one-time password", media="text/html"),
    Operation("GET", "/login/code", "Show the form for a second factor", media="text/html"),
    Operation("POST", "/login/code", "Submit a code of the second factor", media="text/html"),
    Operation("GET", "/login/enrol", "Show how to set up a second factor", media="text/html"),
    Operation(
        "POST", "/login/enrol", "Submit the first code of a second factor", media="text/html"
    ),
    Operation("GET", "/login/oidc", "Redirect to the sign-in provider", media="text/html"),
    Operation("GET", "/login/oidc/callback", "Return from the sign-in provider", media="text/html"),
    Operation(
        "POST", "/logout", "End the session that the cookie belongs to", answer=("signed_out",)
    ),
    Operation("GET", "/request-key", "Show the form for a first key", media="text/html"),
    Operation(
        "POST", "/charts", "Draw a chart", ChartBody,
        {"title": "tokens by day", "unit": "tokens", "labels": ["Mon", "Tue"],
         "series": [{"name": "a model", "values": [3, 5]}]},
        media="image/svg+xml",
    ),
    Operation("GET", "/dashboard", "Show your own account in a browser", media="text/html"),
    Operation("GET", "/admin", "Show the gateway's state in a browser", media="text/html"),
    Operation("GET", "/admin/pages/{name}", "Administer the gateway", media="text/html"),
    Operation("GET", "/static/{digest}/{name}", "Get a file that the pages use", media="*/*"),
    Operation("GET", "/docs/swagger", "Try the API in a browser", media="text/html"),
    Operation("GET", "/docs/swagger/{name}", "Get a file that /docs/swagger uses", media="*/*"),
)  # fmt: skip
