"""The dashboards as data: what each panel shows, in PromQL. `deploy.generate` writes their JSON.

`{m}` stands for the choice of models of the dashboard, `$__rate_interval` is Grafana's own.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph. `unit` is Grafana's; `queries` are pairs of an expression and a legend."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page. `by_model`: it has a list to choose models from."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    by_model: bool = False


def _rate(name: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({name}{where}[$__rate_interval]))"


def _quantile(part: float, name: str, by: str = "model", where: str = "{m}") -> str:
    rate = _rate(f"gateway_{name}_seconds_bucket", f"{by}, le", where)
    return f"histogram_quantile({part:g}, {rate})"


def _times(title: str, name: str, meaning: str) -> Panel:
    queries = [(_quantile(part, name), f"{{{{model}}}} p{part * 100:g}") for part in (0.5, 0.95)]
    return Panel(title, "s", tuple(queries), meaning)


SERVICE = Dashboard(
    "service",
    "Gateway: service",
    (
        Panel("Requests for models", "reqps", (
            (_rate("gateway_requests_total", "dialect"), "{{dialect}}"),)),
        Panel("Requests by status", "reqps", (
            (_rate("gateway_requests_total", "status"), "{{status}}"),)),
        Panel("HTTP requests by route", "reqps", (
            (f"topk(10, {_rate('gateway_http_requests_total', 'route')})", "{{route}}"),)),
        Panel("Refusals by reason", "reqps", (
            (_rate("gateway_refusals_total", "reason"), "{{reason}}"),),
            "Requests that no model has seen."),
        Panel("Running and waiting", "short", (
            ("sum(gateway_requests_running)", "running"),
            ("sum(gateway_requests_waiting)", "waiting"))),
        Panel("Connections", "short", (("sum(gateway_connections)", "open"),)),
        Panel("CPU", "short", (
            ("rate(process_cpu_seconds_total{job=\"triton-gateway\"}[$__rate_interval])",
             "{{instance}}"),), "Cores in use by each gateway."),
        Panel("Memory", "bytes", (
            ("process_resident_memory_bytes{job=\"triton-gateway\"}", "{{instance}}"),)),
        Panel("Blocked event loop", "s", (
            ("rate(gateway_event_loop_blocked_seconds_total[$__rate_interval])", "{{instance}}"),),
            "Seconds of each second; the log has the cause."),
        Panel("Backlog", "short", (
            ("sum by (queue) (gateway_backlog)", "{{queue}}"),
            ("sum(gateway_audit_backlog)", "audit")),
              "What waits to be written."),
        Panel("Free disk", "percentunit", (
            ("gateway_disk_free_bytes / gateway_disk_size_bytes", "{{instance}}"),)),
    ),
)  # fmt: skip

MODELS = Dashboard(
    "models",
    "Gateway: models",
    (
        Panel("Requests", "reqps", (
            (_rate("gateway_requests_total", "model", "{m}"), "{{model}}"),)),
        Panel("Errors", "percentunit", ((
            '(sum by (model) (rate(gateway_requests_total{m5xx}[$__rate_interval]))'
            " or 0 * sum by (model) (rate(gateway_requests_total{m}[$__rate_interval])))"
            " / sum by (model) (rate(gateway_requests_total{m}[$__rate_interval]))", "{{model}}"),),
            "The part of the requests that ended with a status of 500 or more."),
        _times("Time to first token", "time_to_first_token", "From a request's arrival."),
        _times("Inter-token latency", "inter_token_latency", "Between two tokens of an answer."),
        _times("Queue wait", "queue_wait", "Until a request has a slot."),
        _times("Duration", "request_duration", "From arrival to end."),
        Panel("Tokens", "short", (
            (_rate("gateway_tokens_total", "model, kind", "{m}"), "{{model}} {{kind}}"),),
            "Tokens per second; cached ones are prompt tokens, reasoning ones completion tokens."),
        Panel("Running", "short", (("sum by (model) (gateway_requests_running{m})", "{{model}}"),)),
        Panel("Waiting", "short", (("sum by (model) (gateway_requests_waiting{m})", "{{model}}"),)),
    ),
    by_model=True,
)  # fmt: skip

USERS = Dashboard(
    "users",
    "Gateway: users and quotas",
    (
        Panel("Reservations", "reqps", (
            (_rate("gateway_reservations_total", "result"), "{{result}}"),),
            "Answers of the ledger: granted, lowered to what a budget has left, or refused."),
        Panel("Open reservations", "short", (("sum(gateway_reservations_open)", "open"),)),
        Panel("Charged tokens", "short", (
            (_rate("gateway_usage_tokens_total", "kind"), "{{kind}}"),), "Per second."),
        Panel("Credits and price", "short", (
            ("sum(rate(gateway_usage_credits_total[$__rate_interval]))", "credits"),
            ("sum(rate(gateway_usage_price_total[$__rate_interval]))", "price")), "Per second."),
        Panel("Requests without usage", "short", (
            ("sum(increase(gateway_usage_started_total[30m]))"
             " - sum(increase(gateway_usage_requests_total[30m]))", "started, not charged"),
            ("sum(increase(gateway_usage_lost_total[30m]))", "lost")), "In 30 minutes."),
        Panel("Requests of users", "reqps", (
            (f"topk(10, {_rate('gateway_user_requests_total', 'user')})", "{{user}}"),),
            "Needs the setting metrics_by_user."),
        Panel("Tokens of users", "short", (
            (f"topk(10, {_rate('gateway_user_tokens_total', 'user')})", "{{user}}"),),
            "Per second. Needs the setting metrics_by_user."),
    ),
)  # fmt: skip

UPSTREAMS = Dashboard(
    "upstreams",
    "Gateway: upstreams",
    (
        Panel("Up", "short", (("min by (upstream) (gateway_upstream_up)", "{{upstream}}"),),
              "1: it answered the last poll."),
        Panel("Models", "short", (("max by (state) (gateway_models)", "{{state}}"),)),
        Panel("Running", "short", (
            ("sum by (upstream) (gateway_upstream_running)", "{{upstream}}"),)),
        Panel("Open breakers", "short", (
            ("max by (upstream) (gateway_upstream_breakers)", "{{upstream}}"),)),
        Panel("Stale metrics", "short", (
            ("max by (upstream) (gateway_upstream_metrics_stale)", "{{upstream}}"),),
            "1: its metrics could not be read last time."),
        Panel("Age of metrics", "s", (
            ("max by (upstream) (gateway_upstream_metrics_age_seconds)", "{{upstream}}"),)),
        Panel("Samples left out", "short", (
            ("max by (upstream) (gateway_upstream_metrics_dropped)", "{{upstream}}"),)),
    ),
)  # fmt: skip

ENGINE = Dashboard(
    "engine",
    "Gateway: engines",
    (
        Panel("Triton's inferences", "reqps", (
            (_rate("nv_inference_request_success", "upstream, model"), "{{upstream}} {{model}}"),)),
        Panel("Triton's failures", "reqps", (
            (_rate("nv_inference_request_failure", "upstream, model"), "{{upstream}} {{model}}"),)),
        Panel("Triton's queue time", "µs", (
            ("sum by (upstream, model) (rate(nv_inference_queue_duration_us[$__rate_interval]))"
             " / (sum by (upstream, model) (rate(nv_inference_request_success[$__rate_interval]))"
             " > 0)", "{{upstream}} {{model}}"),), "Of each request."),
        Panel("Pending in Triton", "short", (
            ("sum by (upstream, model) (nv_inference_pending_request_count)",
             "{{upstream}} {{model}}"),)),
        Panel("CPU of the upstream's machine", "percentunit", (
            ("max by (upstream) (nv_cpu_utilization)", "{{upstream}}"),)),
        Panel("GPU utilization", "percentunit", (
            ("max by (upstream, gpu_uuid) (nv_gpu_utilization)", "{{upstream}} {{gpu_uuid}}"),)),
        Panel("GPU memory", "percentunit", (
            ("max by (upstream, gpu_uuid) (nv_gpu_memory_used_bytes / nv_gpu_memory_total_bytes)",
             "{{upstream}} {{gpu_uuid}}"),)),
        Panel("GPU power", "watt", (
            ("max by (upstream, gpu_uuid) (nv_gpu_power_usage)", "{{upstream}} {{gpu_uuid}}"),)),
        Panel("vLLM: running and waiting", "short", (
            ("sum by (upstream) (vllm:num_requests_running)", "{{upstream}} running"),
            ("sum by (upstream) (vllm:num_requests_waiting)", "{{upstream}} waiting")),
            "Of vLLM's own server as an upstream."),
        Panel("vLLM: KV cache", "percentunit", (
            ("max by (upstream) (vllm:kv_cache_usage_perc)", "{{upstream}}"),)),
    ),
)  # fmt: skip

DASHBOARDS = (SERVICE, MODELS, USERS, UPSTREAMS, ENGINE)


def expressions(dashboard: Dashboard) -> list[str]:
    """Every expression of a dashboard as Grafana has it."""
    return [written(query) for panel in dashboard.panels for query, _ in panel.queries]


def written(expression: str) -> str:
    """An expression with the dashboard's variable."""
    chosen = 'model=~"$model"'
    failed = f'{{{chosen}, status=~"5.."}}'
    return expression.replace("{m5xx}", failed).replace("{m}", f"{{{chosen}}}")
