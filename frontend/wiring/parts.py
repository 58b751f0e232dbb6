"""The parts of a gateway besides the path of requests."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from frontend.accounts.directory.canaries import Canaries
from frontend.accounts.directory.directory import Directory
from frontend.audit.purge import Purge
from frontend.audit.record import Recorder
from frontend.batches.runner import Runner
from frontend.generation.overview import Overview, gauges_of
from frontend.generation.path import Path
from frontend.generation.uptime import Uptime
from frontend.http.routing import Handler
from frontend.management import Management
from frontend.purging import Purging
from frontend.rollout import Rollout
from frontend.settings import Settings
from frontend.store.uptime import UptimeStore
from frontend.telemetry.alerts import Alerts
from frontend.upstreams.roster import Roster
from frontend.wiring.path import make_roster
from frontend.wiring.services import Stores, make_purge, make_recorder, make_runner
from frontend.wiring.signin import Access, make_access
from frontend.wiring.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Parts:
    """The objects that routes need besides the path."""

    stores: Stores
    telemetry: Telemetry
    directory: Directory
    runner: Runner
    recorder: Recorder
    purge: Purge
    access: Access
    uptime: Uptime
    roster: Roster
    rollout: Rollout
    management: Management
    purging: Purging | None
    overview: Overview


def make_parts(
    settings: Settings,
    path: Path,
    stores: Stores,
    telemetry: Telemetry,
    handler: Callable[[str], Handler],
) -> Parts:
    """Makes the parts; `handler` returns the handler of a path, which batches call. Raises
    KeyFileError if the key file is not valid."""
    database = stores.database
    directory = Directory.of(database, stores.counters, settings.secret_keys)
    changes = directory.groups.changes
    recorder = make_recorder(settings, database, telemetry.metrics)
    roster = make_roster(settings, path, database)
    rollout = Rollout(path.shares, Canaries(changes, path.fleet.find_own), roster.gateway_id)
    roster.also.append(rollout.read)
    return Parts(
        stores=stores,
        telemetry=telemetry,
        directory=directory,
        runner=make_runner(settings, path, recorder, handler, telemetry.tracing, directory.groups),
        recorder=recorder,
        purge=make_purge(settings, recorder, directory),
        access=make_access(settings, database, directory.users.passwords),
        uptime=Uptime(UptimeStore(database), lambda: path.fleet.is_ready and not path.draining),
        roster=roster,
        rollout=rollout,
        management=Management(path.fleet, changes),
        purging=None if path.cache is None else Purging(path.cache, changes),
        overview=_overview(path, telemetry),
    )


def _overview(path: Path, telemetry: Telemetry) -> Overview:
    metrics, history = telemetry.metrics, telemetry.history
    alerts = Alerts(partial(gauges_of, path, metrics), lambda: history.points)

    def refresh() -> None:
        metrics.refresh()
        alerts.check()  # also while nobody looks, so that it is known since when each one holds

    history.refresh = refresh
    return Overview(path, metrics, history, alerts)
