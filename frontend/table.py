"""Every route there is: method, path, dialect, permission, handler.

A request's permission is checked, and its errors are written, by this table. The OpenAPI
document is compared with this table by a test. It is long because every route is on this page.
"""

from dataclasses import dataclass

from frontend.dashboard.account import AccountRoutes
from frontend.dashboard.admin.routes import AdminRoutes
from frontend.dashboard.login import LoginRoutes
from frontend.dashboard.pages import StaticRoutes
from frontend.dashboard.playground import PlaygroundRoutes
from frontend.dashboard.single import SingleRoutes
from frontend.dashboard.status import StatusRoutes
from frontend.dashboard.steps import StepRoutes
from frontend.domain.identity import Permission
from frontend.domain.request import Dialect
from frontend.http.routing import Area, Route
from frontend.routes.admin_groups import GroupRoutes, OrganisationRoutes, RoleRoutes
from frontend.routes.admin_models import ManagedModelRoutes
from frontend.routes.admin_users import KeyRequestRoutes, UserRoutes
from frontend.routes.audit import AuditRoutes
from frontend.routes.backends import BackendRoutes
from frontend.routes.batches import BatchRoutes
from frontend.routes.cache import CacheRoutes
from frontend.routes.canaries import CanaryRoutes
from frontend.routes.charts import ChartRoutes
from frontend.routes.chat import ChatRoutes
from frontend.routes.completions import CompletionRoutes
from frontend.routes.docs import DocsRoutes
from frontend.routes.embeddings import EmbeddingRoutes
from frontend.routes.factors import FactorRoutes
from frontend.routes.files import FileRoutes
from frontend.routes.health import HealthRoutes
from frontend.routes.images import FILES, ImageRoutes
from frontend.routes.inspection import SettingsRoutes
from frontend.routes.keys import KeyRoutes, MeRoutes
from frontend.routes.live import LiveRoutes
from frontend.routes.messages import MessagesRoutes
from frontend.routes.metrics import MetricsRoutes
from frontend.routes.models import ModelRoutes
from frontend.routes.ollama import OllamaRoutes
from frontend.routes.ollama_models import OllamaModelRoutes
from frontend.routes.plans import CreditRoutes, PlanRoutes, PriceRoutes
from frontend.routes.queue import QueueRoutes
from frontend.routes.quotas import QuotaRequestRoutes, QuotaRoutes
from frontend.routes.rerank import RerankRoutes
from frontend.routes.responses import ResponsesRoutes
from frontend.routes.sessions import SessionRoutes
from frontend.routes.tokens import TokenRoutes
from frontend.routes.usage import UsageRoutes

OPENAI, ANTHROPIC, OLLAMA = Dialect.OPENAI, Dialect.ANTHROPIC, Dialect.OLLAMA
PUBLIC, INFER = Permission.PUBLIC, Permission.INFER
LOAD, OBSERVE = Permission.LOAD, Permission.OBSERVE
SELF, KEYS, USERS = Permission.SELF, Permission.KEYS, Permission.USERS
GROUPS, ROLES = Permission.GROUPS, Permission.ROLES
QUOTAS, USAGE, AUDIT = Permission.QUOTAS, Permission.USAGE, Permission.AUDIT
BACKENDS = Permission.BACKENDS

AREAS = (Area("/v1/messages", ANTHROPIC), Area("/api", OLLAMA))
"""Errors of paths below these have their dialect, also where there is no route; all others have
OpenAI's."""


@dataclass(frozen=True, slots=True)
class InferenceHandlers:
    """The handlers of the APIs that use models."""

    chat: ChatRoutes
    completions: CompletionRoutes
    responses: ResponsesRoutes
    embeddings: EmbeddingRoutes
    images: ImageRoutes
    rerank: RerankRoutes
    tokens: TokenRoutes
    models: ModelRoutes
    messages: MessagesRoutes
    ollama: OllamaRoutes
    ollama_models: OllamaModelRoutes
    files: FileRoutes
    batches: BatchRoutes


@dataclass(frozen=True, slots=True)
class GatewayHandlers:
    """Web pages, sign-in, and the state of the gateway."""

    health: HealthRoutes
    metrics: MetricsRoutes
    live: LiveRoutes
    settings: SettingsRoutes
    docs: DocsRoutes
    status: StatusRoutes
    playground: PlaygroundRoutes
    static: StaticRoutes
    login: LoginRoutes
    steps: StepRoutes
    single: SingleRoutes
    account: AccountRoutes
    admin: AdminRoutes
    charts: ChartRoutes


@dataclass(frozen=True, slots=True)
class AdminHandlers:
    """The handlers of administration and of users' own accounts."""

    organisations: OrganisationRoutes
    groups: GroupRoutes
    roles: RoleRoutes
    users: UserRoutes
    factors: FactorRoutes
    sessions: SessionRoutes
    key_requests: KeyRequestRoutes
    keys: KeyRoutes
    own_keys: KeyRoutes
    me: MeRoutes
    quotas: QuotaRoutes
    quota_requests: QuotaRequestRoutes
    plans: PlanRoutes
    credits: CreditRoutes
    prices: PriceRoutes
    usage: UsageRoutes
    audit: AuditRoutes
    queue: QueueRoutes
    backends: BackendRoutes
    managed_models: ManagedModelRoutes
    cache: CacheRoutes
    canaries: CanaryRoutes


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of every route."""

    inference: InferenceHandlers
    gateway: GatewayHandlers
    admin: AdminHandlers


def table(to: Handlers) -> list[Route]:
    """Every route there is."""
    return [
        *_openai(to.inference),
        *_batches(to.inference),
        *_vllm(to.inference),
        *_anthropic(to.inference),
        *_ollama(to.inference),
        *_gateway(to.gateway),
        *_admin(to.admin),
        *_keys(to.admin),
        *_quotas(to.admin),
        *_audit(to.admin),
        *_backends(to.admin),
        *_managed_models(to.admin),
        *_cache(to.admin),
    ]


def _openai(to: InferenceHandlers) -> list[Route]:
    one = "/v1/responses/{id}"
    return [
        Route("POST", "/v1/chat/completions", OPENAI, INFER, to.chat.create),
        Route("POST", "/v1/completions", OPENAI, INFER, to.completions.create),
        Route("POST", "/v1/responses", OPENAI, INFER, to.responses.create),
        Route("POST", "/v1/responses/input_tokens", OPENAI, INFER, to.responses.count),
        Route("GET", one, OPENAI, INFER, to.responses.retrieve),
        Route("DELETE", one, OPENAI, INFER, to.responses.delete),
        Route("GET", f"{one}/input_items", OPENAI, INFER, to.responses.input_items),
        Route("POST", f"{one}/cancel", OPENAI, INFER, to.responses.cancel),
        Route("POST", "/v1/embeddings", OPENAI, INFER, to.embeddings.create),
        Route("POST", "/v1/images/generations", OPENAI, INFER, to.images.generate),
        Route("POST", "/v1/images/edits", OPENAI, INFER, to.images.refuse),
        Route("POST", "/v1/images/variations", OPENAI, INFER, to.images.refuse),
        Route("GET", FILES + "{name}", OPENAI, PUBLIC, to.images.file),
        Route("GET", "/v1/models", OPENAI, INFER, to.models.list),
        Route("GET", "/v1/models/{model:path}", OPENAI, INFER, to.models.one),
    ]


def _batches(to: InferenceHandlers) -> list[Route]:
    file, batch = "/v1/files/{id}", "/v1/batches/{id}"
    return [
        Route("POST", "/v1/files", OPENAI, INFER, to.files.create),
        Route("GET", "/v1/files", OPENAI, INFER, to.files.list),
        Route("GET", file, OPENAI, INFER, to.files.retrieve),
        Route("DELETE", file, OPENAI, INFER, to.files.delete),
        Route("GET", f"{file}/content", OPENAI, INFER, to.files.content),
        Route("POST", "/v1/batches", OPENAI, INFER, to.batches.create),
        Route("GET", "/v1/batches", OPENAI, INFER, to.batches.list),
        Route("GET", batch, OPENAI, INFER, to.batches.retrieve),
        Route("POST", f"{batch}/cancel", OPENAI, INFER, to.batches.cancel),
    ]


def _vllm(to: InferenceHandlers) -> list[Route]:
    """Paths that the clients of vLLM, Jina and Cohere use."""
    return [
        Route("POST", "/tokenize", OPENAI, INFER, to.tokens.tokenize),
        Route("POST", "/detokenize", OPENAI, INFER, to.tokens.detokenize),
        Route("POST", "/rerank", OPENAI, INFER, to.rerank.rerank),
        Route("POST", "/v1/rerank", OPENAI, INFER, to.rerank.rerank),
        Route("POST", "/v2/rerank", OPENAI, INFER, to.rerank.rerank_v2),
        Route("POST", "/score", OPENAI, INFER, to.rerank.score),
        Route("POST", "/v1/score", OPENAI, INFER, to.rerank.score),
    ]


def _anthropic(to: InferenceHandlers) -> list[Route]:
    return [
        Route("POST", "/v1/messages", ANTHROPIC, INFER, to.messages.create),
        Route("POST", "/v1/messages/count_tokens", ANTHROPIC, INFER, to.messages.count),
    ]


def _ollama(to: InferenceHandlers) -> list[Route]:
    blob = "/api/blobs/{digest}"
    return [
        Route("GET", "/api/version", OLLAMA, INFER, to.ollama_models.version),
        Route("GET", "/api/tags", OLLAMA, INFER, to.ollama_models.list),
        Route("GET", "/api/ps", OLLAMA, INFER, to.ollama_models.running),
        Route("POST", "/api/show", OLLAMA, INFER, to.ollama_models.show),
        Route("POST", "/api/chat", OLLAMA, INFER, to.ollama.chat),
        Route("POST", "/api/generate", OLLAMA, INFER, to.ollama.generate),
        Route("POST", "/api/embed", OLLAMA, INFER, to.ollama.embed),
        Route("POST", "/api/embeddings", OLLAMA, INFER, to.ollama.embeddings),
        Route("POST", "/api/pull", OLLAMA, LOAD, to.ollama_models.pull),
        Route("DELETE", "/api/delete", OLLAMA, LOAD, to.ollama_models.delete),
        Route("POST", "/api/create", OLLAMA, LOAD, to.ollama_models.refuse),
        Route("POST", "/api/copy", OLLAMA, LOAD, to.ollama_models.refuse),
        Route("POST", "/api/push", OLLAMA, LOAD, to.ollama_models.refuse),
        Route("POST", blob, OLLAMA, LOAD, to.ollama_models.refuse),
        Route("HEAD", blob, OLLAMA, LOAD, to.ollama_models.refuse),
    ]


def _gateway(to: GatewayHandlers) -> list[Route]:
    return [
        Route("GET", "/", OPENAI, PUBLIC, to.status.show),
        Route("GET", "/status", OPENAI, PUBLIC, to.status.data),
        Route("GET", "/playground", OPENAI, PUBLIC, to.playground.show),
        Route("GET", "/login", OPENAI, PUBLIC, to.login.show),
        Route("POST", "/login", OPENAI, PUBLIC, to.login.submit),
        Route("GET", "/login/password", OPENAI, PUBLIC, to.steps.show_password),
        Route("POST", "/login/password", OPENAI, PUBLIC, to.steps.choose_password),
        Route("GET", "/login/code", OPENAI, PUBLIC, to.steps.show_code),
        Route("POST", "/login/code", OPENAI, PUBLIC, to.steps.enter_code),
        Route("GET", "/login/enrol", OPENAI, PUBLIC, to.steps.show_enrolment),
        Route("POST", "/login/enrol", OPENAI, PUBLIC, to.steps.enrol),
        Route("GET", "/login/oidc", OPENAI, PUBLIC, to.single.go),
        Route("GET", "/login/oidc/callback", OPENAI, PUBLIC, to.single.answer),
        Route("POST", "/logout", OPENAI, SELF, to.login.logout),
        Route("GET", "/request-key", OPENAI, PUBLIC, to.account.ask),
        Route("POST", "/charts", OPENAI, SELF, to.charts.draw),
        Route("GET", "/dashboard", OPENAI, SELF, to.account.show, page=True),
        Route("GET", "/admin", OPENAI, SELF, to.admin.overview, page=True),
        Route("GET", "/admin/pages/{name}", OPENAI, SELF, to.admin.show, page=True),
        Route("GET", "/static/{digest}/{name:path}", OPENAI, PUBLIC, to.static.file),
        Route("GET", "/version", OPENAI, INFER, to.health.version),
        Route("GET", "/healthz", OPENAI, PUBLIC, to.health.live),
        Route("GET", "/readyz", OPENAI, PUBLIC, to.health.ready),
        Route("GET", "/health", OPENAI, PUBLIC, to.health.ready),
        Route("GET", "/metrics", OPENAI, OBSERVE, to.metrics.show, local=True),
        Route("GET", "/admin/metrics", OPENAI, OBSERVE, to.metrics.show),
        Route("GET", "/admin/metrics/history", OPENAI, OBSERVE, to.metrics.history),
        Route("GET", "/admin/status", OPENAI, OBSERVE, to.health.status),
        Route("GET", "/admin/overview", OPENAI, OBSERVE, to.live.show),
        Route("GET", "/admin/live", OPENAI, OBSERVE, to.live.stream),
        Route("GET", "/admin/alerts", OPENAI, OBSERVE, to.live.alerts),
        Route("GET", "/admin/settings", OPENAI, OBSERVE, to.settings.show),
        Route("GET", "/docs/api", OPENAI, PUBLIC, to.docs.document),
        Route("GET", "/docs/swagger", OPENAI, PUBLIC, to.docs.page),
        Route("GET", "/docs/swagger/{name}", OPENAI, PUBLIC, to.docs.file),
    ]


def _admin(to: AdminHandlers) -> list[Route]:
    organisation, group = "/admin/organisations/{id}", "/admin/groups/{id}"
    role, user, request = "/admin/roles/{id}", "/admin/users/{id}", "/admin/key-requests/{id}"
    return [
        Route("GET", "/admin/organisations", OPENAI, GROUPS, to.organisations.page),
        Route("POST", "/admin/organisations", OPENAI, GROUPS, to.organisations.create),
        Route("GET", organisation, OPENAI, GROUPS, to.organisations.get),
        Route("PATCH", organisation, OPENAI, GROUPS, to.organisations.edit),
        Route("DELETE", organisation, OPENAI, GROUPS, to.organisations.delete),
        Route("GET", "/admin/groups", OPENAI, GROUPS, to.groups.page),
        Route("POST", "/admin/groups", OPENAI, GROUPS, to.groups.create),
        Route("GET", group, OPENAI, GROUPS, to.groups.get),
        Route("PATCH", group, OPENAI, GROUPS, to.groups.edit),
        Route("DELETE", group, OPENAI, GROUPS, to.groups.delete),
        Route("GET", "/admin/roles", OPENAI, ROLES, to.roles.page),
        Route("POST", "/admin/roles", OPENAI, ROLES, to.roles.create),
        Route("GET", role, OPENAI, ROLES, to.roles.get),
        Route("PATCH", role, OPENAI, ROLES, to.roles.edit),
        Route("DELETE", role, OPENAI, ROLES, to.roles.delete),
        Route("GET", "/admin/users", OPENAI, USERS, to.users.page),
        Route("POST", "/admin/users", OPENAI, USERS, to.users.create),
        Route("GET", user, OPENAI, USERS, to.users.get),
        Route("PATCH", user, OPENAI, USERS, to.users.edit),
        Route("DELETE", user, OPENAI, USERS, to.users.delete),
        Route("DELETE", f"{user}/second-factor", OPENAI, USERS, to.factors.reset),
        Route("POST", f"{user}/password", OPENAI, USERS, to.users.reset_password),
        Route("GET", "/admin/key-requests", OPENAI, USERS, to.key_requests.page),
        Route("GET", request, OPENAI, USERS, to.key_requests.get),
        Route("POST", f"{request}/approve", OPENAI, USERS, to.key_requests.approve),
        Route("POST", f"{request}/refuse", OPENAI, USERS, to.key_requests.refuse),
        Route("GET", "/admin/events", OPENAI, USERS, to.users.page_events),
    ]


def _keys(to: AdminHandlers) -> list[Route]:
    key, own = "/admin/keys/{id}", "/me/keys/{id}"
    return [
        Route("POST", "/key-requests", OPENAI, PUBLIC, to.key_requests.submit),
        Route("GET", "/key-requests/{id}", OPENAI, PUBLIC, to.key_requests.status),
        Route("GET", "/admin/keys", OPENAI, KEYS, to.keys.page),
        Route("POST", "/admin/keys", OPENAI, KEYS, to.keys.create),
        Route("GET", key, OPENAI, KEYS, to.keys.get),
        Route("PATCH", key, OPENAI, KEYS, to.keys.edit),
        Route("DELETE", key, OPENAI, KEYS, to.keys.delete),
        Route("POST", f"{key}/rotate", OPENAI, KEYS, to.keys.rotate),
        Route("GET", "/me", OPENAI, SELF, to.me.get),
        Route("PATCH", "/me", OPENAI, SELF, to.me.edit),
        Route("POST", "/me/password", OPENAI, SELF, to.me.change_password),
        Route("GET", "/me/second-factor", OPENAI, SELF, to.factors.get),
        Route("POST", "/me/second-factor", OPENAI, SELF, to.factors.set_up),
        Route("POST", "/me/second-factor/confirm", OPENAI, SELF, to.factors.confirm),
        Route("POST", "/me/second-factor/remove", OPENAI, SELF, to.factors.remove),
        Route("GET", "/me/sessions", OPENAI, SELF, to.sessions.list),
        Route("DELETE", "/me/sessions/{id}", OPENAI, SELF, to.sessions.end),
        Route("POST", "/me/sessions/end-others", OPENAI, SELF, to.sessions.end_others),
        Route("GET", "/me/keys", OPENAI, SELF, to.own_keys.page),
        Route("POST", "/me/keys", OPENAI, SELF, to.own_keys.create_own),
        Route("GET", own, OPENAI, SELF, to.own_keys.get),
        Route("PATCH", own, OPENAI, SELF, to.own_keys.edit),
        Route("DELETE", own, OPENAI, SELF, to.own_keys.delete),
        Route("POST", f"{own}/rotate", OPENAI, SELF, to.own_keys.rotate),
    ]


def _quotas(to: AdminHandlers) -> list[Route]:
    quota, plan, asked = "/admin/quotas/{id}", "/admin/plans/{id}", "/admin/quota-requests/{id}"
    return [
        Route("GET", "/admin/quotas", OPENAI, QUOTAS, to.quotas.page),
        Route("POST", "/admin/quotas", OPENAI, QUOTAS, to.quotas.create),
        Route("GET", quota, OPENAI, QUOTAS, to.quotas.get),
        Route("PATCH", quota, OPENAI, QUOTAS, to.quotas.edit),
        Route("DELETE", quota, OPENAI, QUOTAS, to.quotas.delete),
        Route("POST", f"{quota}/reset", OPENAI, QUOTAS, to.quotas.reset),
        Route("GET", "/admin/quota-requests", OPENAI, QUOTAS, to.quota_requests.page),
        Route("POST", f"{asked}/approve", OPENAI, QUOTAS, to.quota_requests.approve),
        Route("POST", f"{asked}/refuse", OPENAI, QUOTAS, to.quota_requests.refuse),
        Route("GET", "/admin/plans", OPENAI, QUOTAS, to.plans.page),
        Route("POST", "/admin/plans", OPENAI, QUOTAS, to.plans.create),
        Route("GET", plan, OPENAI, QUOTAS, to.plans.get),
        Route("PATCH", plan, OPENAI, QUOTAS, to.plans.edit),
        Route("DELETE", plan, OPENAI, QUOTAS, to.plans.delete),
        Route("GET", "/admin/subscriptions", OPENAI, QUOTAS, to.credits.page),
        Route("POST", "/admin/subscriptions", OPENAI, QUOTAS, to.credits.subscribe),
        Route("DELETE", "/admin/subscriptions/{id}", OPENAI, QUOTAS, to.credits.end),
        Route("GET", "/admin/credits", OPENAI, QUOTAS, to.credits.balances),
        Route("POST", "/admin/credits", OPENAI, QUOTAS, to.credits.grant),
        Route("GET", "/admin/prices", OPENAI, QUOTAS, to.prices.page),
        Route("POST", "/admin/prices", OPENAI, QUOTAS, to.prices.create),
        Route("DELETE", "/admin/prices/{id}", OPENAI, QUOTAS, to.prices.delete),
        Route("GET", "/admin/usage", OPENAI, USAGE, to.usage.all),
        Route("GET", "/admin/queue", OPENAI, USAGE, to.queue.show),
        Route("GET", "/admin/queue/decisions", OPENAI, USAGE, to.queue.decisions),
        Route("GET", "/me/usage", OPENAI, SELF, to.usage.own),
        Route("GET", "/me/credits", OPENAI, SELF, to.usage.credits),
        Route("GET", "/me/quotas", OPENAI, SELF, to.usage.limits),
        Route("GET", "/me/quota-requests", OPENAI, SELF, to.quota_requests.page_own),
        Route("POST", "/me/quota-requests", OPENAI, SELF, to.quota_requests.file),
        Route("POST", "/me/quota-requests/{id}/seen", OPENAI, SELF, to.quota_requests.see),
    ]


def _audit(to: AdminHandlers) -> list[Route]:
    artifact = "/admin/audit/artifacts/{id}"
    return [
        Route("GET", "/admin/audit/search", OPENAI, AUDIT, to.audit.all),
        Route("GET", "/admin/audit/records/{id}", OPENAI, AUDIT, to.audit.get),
        Route("GET", artifact, OPENAI, AUDIT, to.audit.artifact),
        Route("GET", "/me/audit", OPENAI, SELF, to.audit.own),
        Route("GET", "/me/audit/{id}", OPENAI, SELF, to.audit.get_own),
    ]


def _backends(to: AdminHandlers) -> list[Route]:
    one = "/admin/backends/{id}"
    return [
        Route("GET", "/admin/backends", OPENAI, BACKENDS, to.backends.list),
        Route("POST", "/admin/backends/register", OPENAI, BACKENDS, to.backends.register),
        Route("GET", one, OPENAI, BACKENDS, to.backends.get),
        Route("PATCH", one, OPENAI, BACKENDS, to.backends.edit),
        Route("DELETE", one, OPENAI, BACKENDS, to.backends.delete),
        Route("POST", f"{one}/enable", OPENAI, BACKENDS, to.backends.enable),
        Route("POST", f"{one}/disable", OPENAI, BACKENDS, to.backends.disable),
        Route("POST", f"{one}/drain", OPENAI, BACKENDS, to.backends.drain),
        Route("POST", f"{one}/refresh", OPENAI, BACKENDS, to.backends.refresh),
    ]


def _managed_models(to: AdminHandlers) -> list[Route]:
    return [
        Route("GET", "/admin/models", OPENAI, LOAD, to.managed_models.list),
        Route("POST", "/admin/models/load", OPENAI, LOAD, to.managed_models.load),
        Route("POST", "/admin/models/unload", OPENAI, LOAD, to.managed_models.unload),
        Route("GET", "/admin/canaries", OPENAI, LOAD, to.canaries.page),
        Route("POST", "/admin/canaries", OPENAI, LOAD, to.canaries.create),
        Route("GET", "/admin/canaries/{id}", OPENAI, LOAD, to.canaries.get),
        Route("PATCH", "/admin/canaries/{id}", OPENAI, LOAD, to.canaries.edit),
        Route("DELETE", "/admin/canaries/{id}", OPENAI, LOAD, to.canaries.delete),
        Route("POST", "/admin/canaries/{id}/promote", OPENAI, LOAD, to.canaries.promote),
        Route("GET", "/admin/models/{model:path}", OPENAI, LOAD, to.managed_models.get),
    ]


def _cache(to: AdminHandlers) -> list[Route]:
    return [
        Route("GET", "/admin/cache", OPENAI, BACKENDS, to.cache.show),
        Route("POST", "/admin/cache/purge", OPENAI, BACKENDS, to.cache.purge),
    ]
