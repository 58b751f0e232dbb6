"""The objects whose methods answer the routes."""

from dataclasses import dataclass

from frontend.accounts.authorize import Authorizer
from frontend.accounts.cookies import Cookies
from frontend.accounts.directory.backends import Backends
from frontend.accounts.directory.directory import Directory
from frontend.accounts.sessions import Sessions
from frontend.audit.purge import Purge
from frontend.audit.record import Recorder
from frontend.audit.search import Search
from frontend.batches.runner import Runner
from frontend.budget import Budget
from frontend.dashboard.account import AccountRoutes
from frontend.dashboard.admin.routes import AdminRoutes
from frontend.dashboard.login import LoginRoutes
from frontend.dashboard.pages import StaticRoutes
from frontend.dashboard.playground import PlaygroundRoutes
from frontend.dashboard.status import StatusRoutes
from frontend.dashboard.steps import StepRoutes
from frontend.generation.overview import Overview
from frontend.generation.path import Path
from frontend.generation.uptime import Uptime
from frontend.http.body import BodyBounds
from frontend.http.bounds import Bounds
from frontend.management import Management
from frontend.media.links import Links
from frontend.purging import Purging
from frontend.reach import Reach
from frontend.rollout import Rollout
from frontend.routes.accounts import Desk
from frontend.routes.admin_groups import GroupRoutes, OrganisationRoutes, RoleRoutes
from frontend.routes.admin_models import ManagedModelRoutes
from frontend.routes.admin_users import KeyRequestRoutes, UserRoutes
from frontend.routes.allowances import (
    CreditRoutes,
    PlanRoutes,
    PriceRoutes,
    QuotaRequestRoutes,
    QuotaRoutes,
)
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
from frontend.routes.queue import QueueRoutes
from frontend.routes.rerank import RerankRoutes
from frontend.routes.responses import ResponsesRoutes
from frontend.routes.sessions import SessionRoutes
from frontend.routes.tokens import TokenRoutes
from frontend.routes.usage import UsageRoutes
from frontend.settings import Settings
from frontend.store.database import Database
from frontend.store.files import FileStore
from frontend.store.probe import Probe
from frontend.store.responses import ResponseStore
from frontend.store.usage import UsageStore
from frontend.table import Handlers
from frontend.telemetry.history import History
from frontend.telemetry.metrics import Metrics
from frontend.turns import Turns
from frontend.upstreams.roster import Roster
from frontend.wiring.inspection import settings_in_force
from frontend.wiring.signin import make_forms, make_single


@dataclass(frozen=True, slots=True)
class Parts:
    """What routes need besides the path."""

    database: Database
    metrics: Metrics
    history: History
    directory: Directory
    runner: Runner
    recorder: Recorder
    purge: Purge
    sessions: Sessions
    cookies: Cookies
    uptime: Uptime
    roster: Roster
    rollout: Rollout
    management: Management
    purging: Purging | None
    authorizer: Authorizer
    overview: Overview


def make_handlers(settings: Settings, path: Path, parts: Parts) -> Handlers:
    """Every handler that `table` names."""
    database, metrics, directory, runner = (
        parts.database, parts.metrics, parts.directory, parts.runner,
    )  # fmt: skip
    bounds, fleet = _bounds(settings), path.fleet
    assert path.ledger is not None
    links = Links(FileStore(database, settings.max_stored_bytes), settings.link_ttl_s)
    store = ResponseStore(database, settings.responses_ttl_s, settings.max_responses_bytes)
    # where everybody may list the models without a key, the document may name them
    names_are_public = not settings.keys_are_required
    desk = Desk(bounds, settings.proxies)
    forms = make_forms(settings, parts.sessions, parts.cookies)
    single = make_single(settings, forms, directory.users)
    return Handlers(
        chat=ChatRoutes(path, bounds),
        completions=CompletionRoutes(path, bounds),
        responses=ResponsesRoutes(path, bounds, store),
        embeddings=EmbeddingRoutes(path, bounds),
        images=ImageRoutes(path, bounds, links, settings.public_url),
        rerank=RerankRoutes(path, bounds),
        models=ModelRoutes(fleet),
        messages=MessagesRoutes(path, bounds),
        ollama=OllamaRoutes(path, bounds),
        ollama_models=OllamaModelRoutes(fleet, bounds),
        health=HealthRoutes(path, Probe(database), metrics),
        metrics=MetricsRoutes(metrics, parts.history),
        docs=DocsRoutes(fleet, names_are_public),
        status=StatusRoutes(path, names_are_public, settings.public_url, parts.uptime),
        playground=PlaygroundRoutes(settings.keys_are_required, settings.public_url),
        static=StaticRoutes(),
        login=LoginRoutes(forms, single.sign_on, settings.public_url),
        single=single,
        steps=StepRoutes(forms, directory.users, directory.factors),
        factors=FactorRoutes(desk, directory.factors),
        account=AccountRoutes(forms.provider),
        admin=AdminRoutes(),
        settings=SettingsRoutes(settings_in_force(settings)),
        live=LiveRoutes(parts.overview, parts.authorizer.holds, settings.heartbeat_s),
        tokens=TokenRoutes(path, bounds),
        files=FileRoutes(
            runner.means.uploads,
            runner.means.batches,
            settings.max_file_bytes,
            Turns(settings.max_uploads, settings.max_waiting),
        ),
        batches=BatchRoutes(runner, bounds),
        organisations=OrganisationRoutes(desk, directory.organisations),
        groups=GroupRoutes(desk, directory.groups),
        roles=RoleRoutes(desk, directory.roles),
        users=UserRoutes(desk, directory.users, directory.events),
        key_requests=KeyRequestRoutes(desk, directory.requests),
        keys=KeyRoutes(desk, directory.keys, own=False),
        own_keys=KeyRoutes(desk, directory.keys, own=True),
        me=MeRoutes(desk, directory.users),
        quotas=QuotaRoutes(desk, directory.quotas, path.ledger),
        quota_requests=QuotaRequestRoutes(desk, directory.quota_requests),
        plans=PlanRoutes(desk, directory.plans),
        credits=CreditRoutes(desk, directory.subscriptions),
        prices=PriceRoutes(desk, directory.prices),
        queue=QueueRoutes(path.queue),
        backends=BackendRoutes(
            desk,
            Backends(
                directory.groups.changes,
                Reach(settings.reachable).addresses,
                [one.name for one in settings.entries],
                parts.roster.slots_of,
            ),
            parts.roster,
            tuple(settings.entries),
        ),
        cache=CacheRoutes(desk, parts.purging),
        sessions=SessionRoutes(desk, parts.sessions, parts.cookies),
        canaries=CanaryRoutes(desk, parts.rollout.canaries, path.shares, parts.roster),
        charts=ChartRoutes(desk, path.images.workers),
        managed_models=ManagedModelRoutes(desk, parts.management),
        usage=UsageRoutes(UsageStore(database), path.ledger),
        audit=AuditRoutes(Search(parts.recorder.writer.store, parts.recorder.writer.artifacts)),
    )


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
