"""Wires the gateway's parts together; nothing else happens here.

Nothing runs at import time, and there is no global state: two gateways in one process are
independent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router
from starlette.types import ASGIApp

from frontend.accounts.authorize import Authorizer
from frontend.accounts.callers import Callers
from frontend.accounts.clock import Clock
from frontend.accounts.cookies import Cookies
from frontend.accounts.directory.backends import Backends
from frontend.accounts.directory.directory import Directory
from frontend.accounts.keys import Keys
from frontend.accounts.ledger import Ledger
from frontend.accounts.retention import retention_of, write_purge
from frontend.accounts.sessions import Sessions
from frontend.accounts.share import Share
from frontend.accounts.shared import LEASE_US, Shared
from frontend.audit.purge import Purge
from frontend.audit.record import Recorder
from frontend.audit.search import Search
from frontend.audit.writer import Writer
from frontend.batches.lines import LineBounds
from frontend.batches.perform import Performer
from frontend.batches.runner import Runner
from frontend.batches.work import Means
from frontend.budget import Budget
from frontend.dashboard.account import AccountRoutes
from frontend.dashboard.login import LoginRoutes
from frontend.dashboard.pages import StaticRoutes
from frontend.dashboard.playground import PlaygroundRoutes
from frontend.dashboard.status import StatusRoutes
from frontend.domain.audit import AuditLevel, AuditPolicy
from frontend.engines import Engines, is_named
from frontend.generation.charge import Tariff
from frontend.generation.path import Path
from frontend.generation.policy import Policy
from frontend.generation.structure import Structures
from frontend.generation.watched import watch
from frontend.http.body import BodyBounds
from frontend.http.bounds import Bounds
from frontend.http.middleware import Middleware
from frontend.http.rates import SHOWN
from frontend.http.routing import Handler, Routes
from frontend.http.sites import Sites, sites_of
from frontend.media.fetch import Fetcher
from frontend.media.images import ImageBounds, Images
from frontend.media.links import Links
from frontend.media.transcode import DecodeLimits
from frontend.reach import Reach
from frontend.routes.accounts import Desk
from frontend.routes.admin_groups import GroupRoutes, OrganisationRoutes, RoleRoutes
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
from frontend.routes.chat import ChatRoutes
from frontend.routes.completions import CompletionRoutes
from frontend.routes.docs import DocsRoutes
from frontend.routes.embeddings import EmbeddingRoutes
from frontend.routes.files import FileRoutes
from frontend.routes.health import HealthRoutes
from frontend.routes.images import ImageRoutes
from frontend.routes.keys import KeyRoutes, MeRoutes
from frontend.routes.messages import MessagesRoutes
from frontend.routes.metrics import MetricsRoutes
from frontend.routes.models import ModelRoutes
from frontend.routes.ollama import OllamaRoutes
from frontend.routes.ollama_models import OllamaModelRoutes
from frontend.routes.queue import QueueRoutes
from frontend.routes.rerank import RerankRoutes
from frontend.routes.responses import ResponsesRoutes
from frontend.routes.tokens import TokenRoutes
from frontend.routes.usage import UsageRoutes
from frontend.scheduling.cost import CostWeights
from frontend.scheduling.jobs import Caps
from frontend.scheduling.policy import FairShare
from frontend.scheduling.queue import Bounds as QueueBounds
from frontend.scheduling.queue import Queue
from frontend.scheduling.ring import Quantum
from frontend.scheduling.shared import Exchange
from frontend.schemas.limits import Limits
from frontend.settings import Settings
from frontend.settings.group import parts
from frontend.settings.media import MediaSettings
from frontend.settings.server import ServerSettings
from frontend.store.audit import AuditStore
from frontend.store.batches import BatchStore
from frontend.store.database import Database
from frontend.store.files import FileStore
from frontend.store.ledger.books import LedgerStore
from frontend.store.location import locate
from frontend.store.probe import Probe
from frontend.store.redis import SharedCounters
from frontend.store.responses import ResponseStore
from frontend.store.uploads import UploadStore
from frontend.store.usage import UsageStore
from frontend.table import Handlers, table
from frontend.telemetry.history import History
from frontend.telemetry.metrics import Metrics
from frontend.telemetry.scrape import Scraper
from frontend.turns import Turns
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.protocol import Upstream
from frontend.upstreams.roster import Roster
from frontend.workers import Workers

_DECODER_BYTES = 512 * 2**20
"""Address space of a process that decodes images: Python, libraries and files."""
_DECODED_BYTES = 16
"""And for each pixel: an image is copied a few times on its way to RGB."""
_MAX_DECODING = 2048
"""Images that are decoded or wait for it."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway: the ASGI application, and what the process around it watches and ends."""

    app: ASGIApp
    path: Path
    metrics: Metrics
    routes: Routes
    database: Database


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
    roster: Roster


def create_gateway(
    settings: Settings, upstream: Upstream | None = None, database: Database | None = None
) -> Gateway:
    """Create it inside the event loop that serves it. `upstream`: instead of the settings' one.

    `database`: instead of the settings' one. Its tables must be those of this release before the
    first request: `store.migrate.prepare` sees to it.

    Raises KeyFileError, BadUpstream, and ValueError for a database's URL that is not valid.
    """
    scraper = Scraper(settings.metrics_urls, settings.metrics_interval_s)
    metrics = Metrics(scraper, by_user=settings.metrics_by_user)
    history = History(settings.metrics_interval_s, metrics.values, metrics.refresh)
    path = _path(settings, upstream, metrics)
    # a database that is given is closed with this gateway, as the one made here is
    database = database or Database(locate(settings.url, settings.data_directory))
    counters = _counters(settings)
    path.ledger = _ledger(settings, database, counters, metrics)
    path.exchange = Exchange(
        path.queue.policy, UsageStore(database), path.tariff.weights, settings.share_interval_s
    )
    watch(metrics, path, settings.data_directory)
    directory, callers = Directory.of(database, counters), Callers(database)
    recorder = _recorder(settings, database, metrics)
    runner = _runner(settings, path, recorder, lambda name: routes.find("POST", name)[0].handler)
    purge = Purge(
        recorder.writer.store,
        recorder.writer.artifacts,
        partial(retention_of, directory.groups, settings.audit_days),
        partial(write_purge, directory.groups.changes),
    )
    sessions = Sessions(database, directory.users.passwords)
    cookies = Cookies(secure=settings.public_url.startswith("https:"))
    roster = _roster(settings, path, database)
    parts = Parts(
        database, metrics, history, directory, runner, recorder, purge, sessions, cookies, roster
    )
    routes = Routes(table(_handlers(settings, path, parts)))
    middleware = Middleware(
        routes,
        _sites(settings),
        _authorizer(settings, callers, parts),
        settings.request_timeout_s,
        settings.client_timeout_s,
        _lifespan(path, parts, callers),
        path.ledger,
        settings.proxies,
        metrics,
        recorder,
    )
    app = _with_cors(middleware, middleware.sites) if settings.origins else middleware
    return Gateway(app, path, metrics, routes, database)


def _path(settings: Settings, upstream: Upstream | None, metrics: Metrics) -> Path:
    engines = _engines(settings)
    entries = settings.entries
    return Path(
        Fleet([engines.make(one) for one in entries])
        if upstream is None
        else Fleet([engines.member(entries[0], upstream)]),
        _queue(settings),
        _structures(settings),
        _images(settings),
        Policy(
            settings.max_text_bytes,
            settings.allowed_constraints,
            frozenset(parts(settings.local_groups)),
        ),
        tariff=Tariff(
            CostWeights(settings.cost_prompt, settings.cost_cached, settings.cost_output)
        ),
        runs=metrics.runs,
    )


def _engines(settings: Settings) -> Engines:
    # the start has refused cycles among the names of `models` (`serve._read`)
    return Engines(
        settings.poll_interval_s,
        settings.models,
        settings.keep_s,
        (settings.triton_key, settings.repository),
        files=settings.model_files,
    )


def _roster(settings: Settings, path: Path, database: Database) -> Roster:
    make = partial(
        _engines(settings).make_registered,
        reach=Reach(settings.reachable),
        keys=settings.backend_keys,
    )
    return Roster(path.fleet, database, make, is_named, path.places.changed)


def _queue(settings: Settings) -> Queue:
    quantum = Quantum(settings.share_quantum, settings.share_rounds, settings.share_burst_rounds)
    caps = Caps(settings.max_running_per_user, settings.max_running_per_key)
    return Queue(
        FairShare(settings.max_running, quantum, caps, settings.background_wait_s),
        QueueBounds(
            settings.max_waiting, settings.max_waiting_per_user, settings.max_waiting_bytes
        ),
    )


def _counters(settings: Settings) -> SharedCounters | None:
    if settings.redis is None:
        return None
    return SharedCounters(settings.redis, settings.redis_timeout_s, LEASE_US)


def _ledger(
    settings: Settings, database: Database, counters: SharedCounters | None, metrics: Metrics
) -> Ledger:
    clock, shared = Clock(), None
    if counters is not None:
        shared = Shared(counters, Share(settings.redis_gateways), clock)
    return Ledger(
        LedgerStore(database),
        settings.default_tokens_per_month,
        settings.max_refused_per_minute,
        charged=metrics.charge,
        lost=metrics.usage_lost.inc,
        folder=settings.data_directory / "ledger",
        clock=clock,
        shared=shared,
    )


def _handlers(settings: Settings, path: Path, parts: Parts) -> Handlers:
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
        status=StatusRoutes(path, names_are_public, settings.public_url),
        playground=PlaygroundRoutes(settings.keys_are_required, settings.public_url),
        static=StaticRoutes(),
        login=LoginRoutes(parts.sessions, parts.cookies, settings.proxies),
        account=AccountRoutes(),
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
        quotas=QuotaRoutes(desk, directory.quotas),
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
            ),
            parts.roster,
            tuple(settings.entries),
        ),
        usage=UsageRoutes(UsageStore(database), path.ledger),
        audit=AuditRoutes(Search(parts.recorder.writer.store, parts.recorder.writer.artifacts)),
    )


def _recorder(settings: Settings, database: Database, metrics: Metrics) -> Recorder:
    writer = Writer(
        AuditStore(database),
        settings.data_directory / "audit",
        settings.max_audit_records,
        settings.max_audit_bytes,
        written=metrics.audit_records.inc,
        lost=metrics.audit_lost.inc,
    )
    metrics.watch("audit_backlog", "Audit records that wait to be written", lambda: writer.backlog)
    return Recorder(writer, AuditPolicy(AuditLevel(settings.audit), settings.audit_strict))


def _runner(
    settings: Settings, path: Path, recorder: Recorder, handler: Callable[[str], Handler]
) -> Runner:
    database = recorder.writer.store.database
    folder = settings.data_directory / "files"
    means = Means(
        BatchStore(database),
        UploadStore(database, folder, settings.max_files_bytes),
        Performer(handler, settings.request_timeout_s, recorder),
        LineBounds(
            settings.max_batch_requests,
            settings.max_image_body_bytes,
            settings.max_json_values,
            settings.max_json_containers,
        ),
        asyncio.Semaphore(settings.max_batch_running),
        lambda: path.draining,
    )
    return Runner(means)


def _lifespan(path: Path, parts: Parts, callers: Callers) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        ledger = nullcontext() if path.ledger is None else path.ledger.running()
        exchange = nullcontext() if path.exchange is None else path.exchange.running()
        await parts.directory.roles.seed()
        async with (
            path.fleet.polling(),
            parts.roster.following(),
            path.structures.working(),
            callers.watching(),
            ledger,
            parts.recorder.writer.running(),
            parts.purge.running(),
            exchange,
            parts.runner.serving(),
            parts.metrics.scraper.running(),
            parts.history.running(),
        ):
            yield
        # in this order: what uses the upstream ends before its channel is closed
        await path.images.workers.close()
        await parts.database.close()
        await path.fleet.close()

    return Router(lifespan=lifespan)


def _with_cors(app: ASGIApp, sites: Sites) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=("*",) if sites.origins is None else (),
        allow_origin_regex=None if sites.origins is None else sites.origins.pattern,
        allow_methods=("GET", "HEAD", "POST", "PATCH", "DELETE"),
        allow_headers=("*",),
        # a browser hides all other headers from a page's code
        expose_headers=SHOWN,
        # Chrome asks for this before a public page may call a private address
        allow_private_network=True,
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


def _sites(settings: ServerSettings) -> Sites:
    return sites_of(
        settings.host,
        settings.hosts,
        settings.origins,
        settings.public_url,
        keyed=settings.keys_are_required,
    )


def _authorizer(settings: ServerSettings, callers: Callers, parts: Parts) -> Authorizer:
    keys = None if settings.keys_file is None else Keys(settings.keys_file)
    if keys is not None:
        # a broken file must end the start, not the first request
        keys.read()
    return Authorizer(
        keys,
        callers,
        open=not settings.keys_are_required,
        sessions=parts.sessions,
        cookies=parts.cookies,
    )


def _structures(settings: Settings) -> Structures:
    workers = Workers(
        settings.schema_workers,
        settings.schema_timeout_s,
        settings.max_schema_memory_bytes,
        max_waiting=4 * settings.max_running,  # answers that end at the same time
    )
    limits = Limits(
        size_bytes=settings.max_schema_bytes,
        total_bytes=settings.max_schemas_bytes,
        depth=settings.max_schema_depth,
        properties=settings.max_schema_properties,
        enum=settings.max_schema_enum,
        expansion=settings.max_schema_expansion,
        patterns=settings.max_schema_patterns,
        pattern_size=settings.max_schema_pattern_size,
    )
    return Structures(workers, limits, settings.schema_retries)


def _images(settings: MediaSettings) -> Images:
    networks = tuple(map(ip_network, settings.networks))
    fetcher = Fetcher(settings.max_image_bytes, settings.image_timeout_s, networks)
    pixels = settings.max_image_pixels
    workers = Workers(
        settings.image_processes,
        settings.image_decode_s,
        _DECODER_BYTES + _DECODED_BYTES * pixels,
        _MAX_DECODING,
    )
    bounds = ImageBounds(
        settings.max_images,
        settings.max_image_bytes,
        settings.max_encoded_images_bytes,
        DecodeLimits(pixels, settings.max_image_scans, settings.max_encoded_image_bytes),
    )
    # four requests at their maximum, so that one caller with half of it cannot block the others
    return Images(fetcher, workers, Budget(4 * settings.max_encoded_images_bytes), bounds)
