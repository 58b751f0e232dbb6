"""The objects whose methods answer the routes."""

from frontend.accounts.directory.backends import Backends
from frontend.accounts.waiting import Waiting
from frontend.audit.search import Search
from frontend.budget import Budget
from frontend.dashboard.account import AccountRoutes
from frontend.dashboard.admin.routes import AdminRoutes
from frontend.dashboard.login import LoginRoutes
from frontend.dashboard.pages import StaticRoutes
from frontend.dashboard.playground import PlaygroundRoutes
from frontend.dashboard.status import StatusRoutes
from frontend.dashboard.steps import StepRoutes
from frontend.generation.path import Path
from frontend.http.body import BodyBounds
from frontend.http.bounds import Bounds
from frontend.media.links import Links
from frontend.reach import Reach
from frontend.routes.accounts import Browsers, Desk
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
from frontend.routes.images import ImageRoutes
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
from frontend.settings import Settings
from frontend.store.files import FileStore
from frontend.store.probe import Probe
from frontend.store.reports import Reports
from frontend.store.responses import ResponseStore
from frontend.table import AdminHandlers, GatewayHandlers, Handlers, InferenceHandlers
from frontend.turns import Turns
from frontend.wiring.inspection import settings_in_force
from frontend.wiring.parts import Parts
from frontend.wiring.signin import make_forms, make_single


def make_handlers(settings: Settings, path: Path, parts: Parts) -> Handlers:
    """Every handler that `table` names."""
    bounds = _bounds(settings)
    return Handlers(
        _inference(settings, path, parts, bounds),
        _gateway(settings, path, parts, bounds),
        _admin(settings, path, parts, bounds),
    )


def _inference(settings: Settings, path: Path, parts: Parts, bounds: Bounds) -> InferenceHandlers:
    database, means = parts.stores.database, parts.runner.means
    links = Links(FileStore(database, settings.max_stored_bytes), settings.link_ttl_s)
    store = ResponseStore(database, settings.responses_ttl_s, settings.max_responses_bytes)
    uploads = Turns(settings.max_uploads, settings.max_waiting)
    return InferenceHandlers(
        chat=ChatRoutes(path, bounds),
        completions=CompletionRoutes(path, bounds),
        responses=ResponsesRoutes(path, bounds, store),
        embeddings=EmbeddingRoutes(path, bounds),
        images=ImageRoutes(path, bounds, links, settings.public_url),
        rerank=RerankRoutes(path, bounds),
        tokens=TokenRoutes(path, bounds),
        models=ModelRoutes(path.fleet),
        messages=MessagesRoutes(path, bounds),
        ollama=OllamaRoutes(path, bounds),
        ollama_models=OllamaModelRoutes(path.fleet, bounds),
        files=FileRoutes(means.uploads, means.batches, settings.max_file_bytes, uploads),
        batches=BatchRoutes(parts.runner, bounds),
    )


def _gateway(settings: Settings, path: Path, parts: Parts, bounds: Bounds) -> GatewayHandlers:
    users, factors = parts.directory.users, parts.directory.factors
    # where everybody may list the models without a key, the document may name them
    names_are_public = not settings.keys_are_required
    forms = make_forms(settings, parts.access)
    single = make_single(settings, forms, users)
    database = parts.stores.database
    waiting = Waiting(database)
    return GatewayHandlers(
        health=HealthRoutes(path, Probe(database), parts.telemetry.metrics, waiting),
        metrics=MetricsRoutes(parts.telemetry.metrics, parts.telemetry.history),
        live=LiveRoutes(parts.overview, parts.access.authorizer.holds, settings.heartbeat_s),
        settings=SettingsRoutes(settings_in_force(settings)),
        docs=DocsRoutes(path.fleet, names_are_public),
        status=StatusRoutes(path, names_are_public, settings.public_url, parts.uptime),
        playground=PlaygroundRoutes(settings.public_url),
        static=StaticRoutes(),
        login=LoginRoutes(forms, single.sign_on, settings.public_url),
        steps=StepRoutes(forms, users, factors),
        single=single,
        account=AccountRoutes(forms.provider),
        admin=AdminRoutes(waiting),
        charts=ChartRoutes(Desk(bounds, settings.proxies), path.images.workers),
    )


def _admin(settings: Settings, path: Path, parts: Parts, bounds: Bounds) -> AdminHandlers:
    assert path.ledger is not None
    desk, directory, writer = Desk(bounds, settings.proxies), parts.directory, parts.recorder.writer
    browsers = Browsers(parts.access.sessions, parts.access.cookies)
    proves_email = bool(settings.oidc_issuer) and settings.oidc_link == "verified-email"
    return AdminHandlers(
        organisations=OrganisationRoutes(desk, directory.organisations),
        groups=GroupRoutes(desk, directory.groups),
        roles=RoleRoutes(desk, directory.roles),
        users=UserRoutes(desk, directory.users, directory.events),
        factors=FactorRoutes(desk, directory.factors, browsers),
        sessions=SessionRoutes(desk, parts.access.sessions, parts.access.cookies),
        key_requests=KeyRequestRoutes(desk, directory.requests, proves_email),
        keys=KeyRoutes(desk, directory.keys, own=False),
        own_keys=KeyRoutes(desk, directory.keys, own=True),
        me=MeRoutes(desk, directory.users, directory.quota_requests, browsers, proves_email),
        quotas=QuotaRoutes(desk, directory.quotas, path.ledger),
        quota_requests=QuotaRequestRoutes(desk, directory.quota_requests),
        plans=PlanRoutes(desk, directory.plans),
        credits=CreditRoutes(desk, directory.subscriptions),
        prices=PriceRoutes(desk, directory.prices),
        usage=UsageRoutes(Reports(parts.stores.database), path.ledger),
        audit=AuditRoutes(Search(writer.store, writer.artifacts)),
        queue=QueueRoutes(path.queue, path.places),
        backends=_backends(settings, desk, parts),
        managed_models=ManagedModelRoutes(desk, parts.management),
        cache=CacheRoutes(desk, parts.purging),
        canaries=CanaryRoutes(desk, parts.rollout.canaries, path.shares, parts.roster),
    )


def _backends(settings: Settings, desk: Desk, parts: Parts) -> BackendRoutes:
    declared, roster = settings.entries, parts.roster
    names, addresses = [one.name for one in declared], Reach(settings.reachable).addresses
    backends = Backends(parts.directory.groups.changes, addresses, names, roster.slots_of)
    return BackendRoutes(desk, backends, roster, tuple(declared))


def _bounds(settings: Settings) -> Bounds:
    # one budget for both kinds of bodies: they are in the same memory
    bodies = Budget(settings.max_bodies_bytes)
    counts = settings.max_json_values, settings.max_json_containers
    return Bounds(
        body=BodyBounds(settings.max_body_bytes, *counts, bodies),
        image_body=BodyBounds(settings.max_image_body_bytes, *counts, bodies),
        messages=settings.max_messages,
        inputs=settings.max_inputs,
        heartbeat_s=settings.heartbeat_s,
        unknown_fields=settings.unknown_fields,
    )
