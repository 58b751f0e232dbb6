"""Puts the parts of a gateway together; nothing else happens here.

Nothing runs at import time, and there is no global state: two gateways in one process are
independent.
"""

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router
from starlette.types import ASGIApp

from frontend.dashboard.pages import error_page
from frontend.generation.path import Path
from frontend.generation.watched import watch
from frontend.http.middleware import Middleware
from frontend.http.rates import SHOWN
from frontend.http.routing import Routes
from frontend.http.sites import Sites, sites_of
from frontend.scheduling.shared import Exchange
from frontend.settings import Settings
from frontend.settings.server import ServerSettings
from frontend.store.database import Database
from frontend.store.usage import UsageStore
from frontend.table import AREAS, table
from frontend.telemetry.metrics import Metrics
from frontend.upstreams.protocol import Upstream
from frontend.wiring.handlers import make_handlers
from frontend.wiring.parts import Parts, make_parts
from frontend.wiring.path import make_path
from frontend.wiring.services import make_ledger, make_stores
from frontend.wiring.telemetry import make_telemetry


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway: the ASGI application, and what the process around it watches and ends."""

    app: ASGIApp
    path: Path
    metrics: Metrics
    routes: Routes
    database: Database


def create_gateway(
    settings: Settings,
    upstream: Upstream | None = None,
    database: Database | None = None,
    trace_ids: MutableMapping[str, str] | None = None,
) -> Gateway:
    """Create it inside the event loop that serves it. `upstream`: instead of the settings' one.

    `database`: instead of the settings' one. Its tables must be those of this release before the
    first request: `store.migrate.prepare` makes them so. `trace_ids` gets the trace ids of running
    requests.

    Raises KeyFileError, BadUpstream or ValueError if the key file, an upstream or the database's
    URL is not valid.
    """
    telemetry = make_telemetry(settings, {} if trace_ids is None else trace_ids)
    # a database that is given is closed with this gateway, as the one made here is
    stores = make_stores(settings, database)
    path = make_path(settings, upstream, telemetry.metrics, stores.database)
    path.ledger = make_ledger(settings, stores, telemetry.metrics)
    usage, interval_s = UsageStore(stores.database), settings.share_interval_s
    path.exchange = Exchange(path.queue.policy, usage, path.tariff.weights, interval_s)
    watch(telemetry.metrics, path, settings.data_directory)
    parts = make_parts(
        settings, path, stores, telemetry, lambda name: routes.find("POST", name)[0].handler
    )
    routes = Routes(table(make_handlers(settings, path, parts)), AREAS)
    middleware = Middleware(
        routes,
        _sites(settings),
        parts.access.authorizer,
        settings.request_timeout_s,
        settings.client_timeout_s,
        _lifespan(path, parts),
        path.ledger,
        settings.proxies,
        telemetry.metrics,
        parts.recorder,
        telemetry.tracing,
        error_page,
    )
    app = _with_cors(middleware, middleware.sites) if settings.origins else middleware
    return Gateway(app, path, telemetry.metrics, routes, stores.database)


def _lifespan(path: Path, parts: Parts) -> ASGIApp:
    telemetry = parts.telemetry

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        ledger = nullcontext() if path.ledger is None else path.ledger.running()
        exchange = nullcontext() if path.exchange is None else path.exchange.running()
        purging = nullcontext() if parts.purging is None else parts.purging.following()
        traces = nullcontext() if telemetry.tracing is None else telemetry.tracing.running()
        await parts.directory.roles.seed()
        await parts.directory.factors.seal.renew()
        async with (
            path.fleet.polling(),
            parts.roster.following(),
            parts.rollout.reporting(),
            path.structures.working(),
            parts.access.callers.watching(),
            ledger,
            parts.recorder.writer.running(),
            parts.purge.running(),
            exchange,
            parts.runner.serving(),
            telemetry.metrics.scraper.running(),
            telemetry.history.running(),
            parts.uptime.running(),
            traces,
            purging,
        ):
            yield
        # in this order: what uses the upstream ends before its channel is closed
        await parts.management.close()
        await parts.rollout.close()
        await path.images.workers.close()
        await parts.stores.database.close()
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


def _sites(settings: ServerSettings) -> Sites:
    return sites_of(
        settings.host,
        settings.hosts,
        settings.origins,
        settings.public_url,
        keyed=settings.keys_are_required,
    )
