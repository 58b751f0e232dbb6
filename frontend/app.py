"""Puts the parts of a gateway together; nothing else happens here.

Nothing runs at import time, and there is no global state: two gateways in one process are
independent.
"""

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router
from starlette.types import ASGIApp

from frontend.accounts.callers import Callers
from frontend.accounts.cookies import Cookies
from frontend.accounts.directory.canaries import Canaries
from frontend.accounts.directory.directory import Directory
from frontend.accounts.sessions import Lifetimes, Sessions
from frontend.dashboard.pages import error_page
from frontend.generation.overview import Overview, gauges_of
from frontend.generation.path import Path
from frontend.generation.uptime import Uptime
from frontend.generation.watched import watch
from frontend.http.middleware import Middleware
from frontend.http.rates import SHOWN
from frontend.http.routing import Routes
from frontend.http.sites import Sites, sites_of
from frontend.management import Management
from frontend.purging import Purging
from frontend.rollout import Rollout
from frontend.scheduling.shared import Exchange
from frontend.settings import Settings
from frontend.settings.server import ServerSettings
from frontend.store.database import Database
from frontend.store.location import locate
from frontend.store.uptime import UptimeStore
from frontend.store.usage import UsageStore
from frontend.table import table
from frontend.telemetry.alerts import Alerts
from frontend.telemetry.history import History
from frontend.telemetry.metrics import Metrics
from frontend.telemetry.scrape import Scraper
from frontend.upstreams.protocol import Upstream
from frontend.wiring.handlers import Parts, make_handlers
from frontend.wiring.path import make_path, make_roster
from frontend.wiring.services import (
    make_authorizer,
    make_counters,
    make_ledger,
    make_purge,
    make_recorder,
    make_runner,
)
from frontend.wiring.traces import make_tracing

if TYPE_CHECKING:
    from frontend.telemetry.traces.tracing import Tracing


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
    first request: `store.migrate.prepare` sees to it. `trace_ids` gets those of running requests.

    Raises KeyFileError, BadUpstream, and ValueError for a database's URL that is not valid.
    """
    scraper = Scraper(settings.metrics_urls, settings.metrics_interval_s)
    metrics = Metrics(scraper, by_user=settings.metrics_by_user)
    history = History(settings.metrics_interval_s, metrics.values, metrics.refresh)
    path = make_path(settings, upstream, metrics)
    # a database that is given is closed with this gateway, as the one made here is
    database = database or Database(locate(settings.url, settings.data_directory))
    counters = make_counters(settings)
    path.ledger = make_ledger(settings, database, counters, metrics)
    path.exchange = Exchange(
        path.queue.policy, UsageStore(database), path.tariff.weights, settings.share_interval_s
    )
    watch(metrics, path, settings.data_directory)
    directory = Directory.of(database, counters, settings.secret_keys)
    callers = Callers(database)
    recorder = make_recorder(settings, database, metrics)
    tracing = make_tracing(settings, metrics, {} if trace_ids is None else trace_ids)
    runner = make_runner(
        settings,
        path,
        recorder,
        lambda name: routes.find("POST", name)[0].handler,
        tracing,
        directory.groups,
    )
    purge = make_purge(settings, recorder, directory)
    lifetimes = Lifetimes(settings.session_idle_s, settings.session_longest_s)
    sessions = Sessions(
        database, directory.users.passwords, lifetimes, frozenset(settings.factor_roles)
    )
    cookies = Cookies(secure=settings.public_url.startswith("https:"))
    roster = make_roster(settings, path, database)
    rollout = Rollout(path.shares, Canaries(directory.groups.changes, path.fleet.find_own))
    roster.also.append(rollout.read)
    authorizer = make_authorizer(settings, callers, sessions, cookies)
    parts = Parts(
        database,
        metrics,
        history,
        directory,
        runner,
        recorder,
        purge,
        sessions,
        cookies,
        Uptime(UptimeStore(database), lambda: path.fleet.is_ready and not path.draining),
        roster,
        rollout,
        Management(path.fleet, directory.groups.changes),
        None if path.cache is None else Purging(path.cache, directory.groups.changes),
        authorizer,
        _overview(path, metrics, history),
    )
    routes = Routes(table(make_handlers(settings, path, parts)))
    middleware = Middleware(
        routes,
        _sites(settings),
        authorizer,
        settings.request_timeout_s,
        settings.client_timeout_s,
        _lifespan(path, parts, callers, tracing),
        path.ledger,
        settings.proxies,
        metrics,
        recorder,
        tracing,
        error_page,
    )
    app = _with_cors(middleware, middleware.sites) if settings.origins else middleware
    return Gateway(app, path, metrics, routes, database)


def _overview(path: Path, metrics: Metrics, history: History) -> Overview:
    alerts = Alerts(partial(gauges_of, path, metrics), lambda: history.points)

    def refresh() -> None:
        metrics.refresh()
        alerts.check()  # also while nobody looks, so that it is known since when each one holds

    history.refresh = refresh
    return Overview(path, metrics, history, alerts)


def _lifespan(path: Path, parts: Parts, callers: Callers, tracing: "Tracing | None") -> ASGIApp:
    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        ledger = nullcontext() if path.ledger is None else path.ledger.running()
        exchange = nullcontext() if path.exchange is None else path.exchange.running()
        purging = nullcontext() if parts.purging is None else parts.purging.following()
        traces = nullcontext() if tracing is None else tracing.running()
        await parts.directory.roles.seed()
        await parts.directory.factors.seal.renew()
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
            parts.uptime.running(),
            traces,
            purging,
        ):
            yield
        # in this order: what uses the upstream ends before its channel is closed
        await parts.management.close()
        await parts.rollout.close()
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


def _sites(settings: ServerSettings) -> Sites:
    return sites_of(
        settings.host,
        settings.hosts,
        settings.origins,
        settings.public_url,
        keyed=settings.keys_are_required,
    )
