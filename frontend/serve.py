"""The server as a process: settings from the command line, signals, sockets, exit codes.

`check` does what can be done before something is started.
"""

import os

# read when gRPC makes its first channel: its new event engine polls from threads of its own, and
# without it a request costs a fifth to a third less CPU (alternating pairs over the echo engine)
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")

import asyncio
import contextlib
import gc
import io
import json
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp

from frontend.accounts.keys import KeyFileError, Keys
from frontend.accounts.roles import SEEDED
from frontend.app import create_gateway
from frontend.engines import BadUpstream
from frontend.errors import StoreUnavailable
from frontend.generation.path import Path
from frontend.http.connections import Connections
from frontend.http.limits import Limits
from frontend.http.server import DrainingServer, server_config
from frontend.process.files import allow_connections
from frontend.process.liveness import liveness
from frontend.process.signals import ended_by_signals
from frontend.settings import Settings
from frontend.settings.explain import problem, usage_problem
from frontend.settings.limits import LimitSettings
from frontend.sinks import make_sinks
from frontend.store.database import Database
from frontend.store.location import check_space, locate, remedy
from frontend.store.migrate import WrongRevision, check, prepare
from frontend.store.redis import SharedCounters
from frontend.telemetry.logs.lines import Format
from frontend.telemetry.logs.sink import Sink
from frontend.telemetry.logs.start import log_unhandled, logging_to
from frontend.telemetry.watchdog import Watchdog
from frontend.upstreams.names import find_cycle

_END_S = 4.0  # for what follows the drain
_COLLECTED = 5_000  # new objects that are still there: then the garbage collector looks
_log = logging.getLogger(__name__)


class DataDirectoryError(Exception):
    """The folder of the gateway's own files cannot be used."""


def main(arguments: Sequence[str]) -> int:
    """Serves, or checks the settings; returns the exit code, 2 for settings that are invalid."""
    given = [*arguments]
    command = given.pop(0) if given[:1] in (["serve"], ["check"]) else "serve"
    settings = _read(given)
    if settings is None:
        return 2
    try:
        _check_space(settings)
        # gRPC's channels belong to the loop that makes them, so all of it is made inside this
        # runner
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_check(settings) if command == "check" else _serve(settings))
    except KeyFileError as error:
        return _invalid("keys_file", error)
    except BadUpstream as error:
        return _invalid("upstreams", error)
    except WrongRevision as error:
        return _invalid("database_url", error)
    except DataDirectoryError as error:
        return _invalid("data_directory", error)
    except StoreUnavailable as error:
        return _invalid("database_url", error.reason)
    return 0


def _read(arguments: list[str]) -> Settings | None:
    """The settings; None when they are invalid, which was printed."""
    # argparse prints the 200 flags before what is wrong with one of them
    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage):
            settings = CliApp.run(Settings, cli_args=arguments)
    except ValidationError as error:
        for wrong in error.errors():
            field = ".".join(map(str, wrong["loc"])) or "host"
            sys.stderr.write(f"error: setting '{field}': {problem(wrong)}\n")
        return None
    except SystemExit as error:
        if error.code:
            sys.stderr.write(f"error: {usage_problem(usage.getvalue(), Settings.model_fields)}\n")
        return None
    if cycle := find_cycle(settings.models):
        sys.stderr.write(f"error: setting 'models': {' → '.join(cycle)} is a cycle\n")
        return None
    try:
        locate(settings.url, settings.data_directory)
    except ValueError as error:
        _invalid("database_url", error)
        return None
    try:
        _ = settings.redis and SharedCounters(settings.redis)
    except ValueError as error:
        _invalid("redis_url", error)
        return None
    return settings


def _invalid(field: str, reason: object) -> int:
    sys.stderr.write(f"error: setting '{field}': {reason}\n")
    if hint := remedy(str(reason)):
        sys.stderr.write(f"hint: {hint}\n")
    return 2


def _check_space(settings: Settings) -> None:
    """Before anything is made: a database that is begun on a full disk stays there, empty."""
    location = locate(settings.url, settings.data_directory)
    try:
        check_space(location)
    except OSError as error:
        text = f"{location.file.parent}: {error.strerror}"
        raise DataDirectoryError(text) from error


async def _check(settings: Settings) -> None:
    """Reads the key file and the database's revision too, and starts nothing."""
    if settings.keys_file is not None:
        Keys(settings.keys_file).read()
    location = locate(settings.url, settings.data_directory)
    # a check must not create a file: Database would make an empty one where none exists
    if not location.is_sqlite or location.file.exists():
        database = Database(location)
        try:
            await check(database)
        finally:
            await database.close()


async def _serve(settings: Settings) -> None:
    os.umask(0o077)  # only this user may read stored answers
    sinks = make_sinks(settings, settings.data_directory / "logs")
    with ExitStack() as logs:
        try:
            trace_ids = dict[str, str]()
            texts = {sink.is_text for sink in sinks}
            form = Format(settings.log_upstream_errors, trace_ids, False in texts, True in texts)
            logs.enter_context(logging_to(sinks, settings.log_level, form))
        except OSError as error:
            raise DataDirectoryError(f"{settings.data_directory}: {error.strerror}") from error
        # after a failed start as well: what cannot be sent waits on disk for the next start
        await serve(settings, sinks, trace_ids)


async def serve(
    settings: Settings, sinks: Sequence[Sink] = (), trace_ids: dict[str, str] | None = None
) -> None:
    """Serves until a signal ends it. `sinks`: of log lines; their losses are counted. `trace_ids`
    gets those of running requests."""
    asyncio.get_running_loop().set_exception_handler(log_unhandled)
    gateway = create_gateway(settings, trace_ids=trace_ids)
    for sink in sinks:
        sink.losses.connect(gateway.metrics.log_lines_lost.labels(sink.name).inc)
    gateway.metrics.watch(
        "log_spool_bytes", "Log lines on disk that wait for a sink",
        lambda: {sink.name: float(sink.waiting_bytes) for sink in sinks}, "sink",
    )  # fmt: skip
    try:
        # before the server listens, so that no request meets a missing table
        await prepare(gateway.database)
    except OSError as error:
        raise DataDirectoryError(f"{settings.data_directory}: {error.strerror}") from error
    _log.info("%s", _admission(settings))
    _log.info("%s", _sharing(settings))
    gc.freeze()  # what exists now stays: no collection needs to look at it again
    # a request leaves nothing to collect; more often, 8 at a time cost 5 % of the CPU
    gc.set_threshold(_COLLECTED)
    # the event loop would note each of a request's ten generators in a set, to close what is left
    # of them at its end; all of them are closed by those who use them
    sys.set_asyncgen_hooks(firstiter=None)
    metrics = gateway.metrics
    connections = Connections(_limits(settings), refused=metrics.refused.inc)
    metrics.watch("connections", "Open connections", connections.__len__)
    config = server_config(gateway.app, connections, settings.host, settings.port)
    server = DrainingServer(config, gateway.path, connections, settings.drain_s)
    watchdog = Watchdog(settings.block_warning_ms / 1000, metrics.blocks.inc, metrics.blocked_s.inc)
    # a second port is for Ollama's clients, which have 11434 as their default
    ports = [port for port in (settings.port, settings.ollama_port) if port is not None]
    sockets = [_listening(settings.host, port) for port in ports] if len(ports) > 1 else None
    loop = asyncio.get_running_loop()
    # the reaper's grace is longer than the drain, so that an orderly end is never cut short
    with watchdog.watching(loop), ended_by_signals(settings.drain_s + _END_S):
        async with liveness(settings.health_socket, lambda: _activity(gateway.path)):
            # None: uvicorn binds itself, and reports a port that is in use in its own words
            await server.serve(sockets)


def _activity(path: Path) -> bytes:
    """For `toolkit ps`."""
    return json.dumps({"models": path.activity}).encode()


def _admission(settings: Settings) -> str:
    """Who may use the gateway, for the log."""
    if settings.keys_are_required:
        return "every request needs a key; `triton-gateway keys create` creates one"
    if settings.open_to_network:
        return f"open mode: everyone who can reach {settings.host} can use the models without a key"
    return (
        "open mode: every program on this machine can use the models without a key;"
        " --require-keys changes that"
    )


def _sharing(settings: Settings) -> str:
    """How users share the models, for the log."""
    quantum, rounds = settings.share_quantum, settings.share_rounds
    seeded = ", ".join(f"{role.name} {role.weight}" for role in SEEDED.values())
    weights = f"weights are those of roles and groups in the database (at first: {seeded})"
    if not settings.keys_are_required:
        weights = f"requests without a key share weight 1; {weights}"
    return (
        f"fair share is on: weighted deficit round robin over groups and users; {weights};"
        f" window: {rounds} rounds of {quantum} tokens per weight;"
        f" cost: {settings.cost_prompt:g} per prompt token, {settings.cost_cached:g} if cached,"
        f" {settings.cost_output:g} per output token"
    )


def _limits(settings: LimitSettings) -> Limits:
    return Limits(
        connections=allow_connections(settings.max_connections),
        connections_per_address=settings.max_connections_per_address,
        head_bytes=settings.max_head_bytes,
        headers=settings.max_headers,
        pipelined=settings.max_pipelined,
        discarded_bytes=settings.max_body_bytes,
        client_s=settings.client_timeout_s,
        idle_s=settings.idle_timeout_s,
    )


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # uvicorn's own backlog is 2048, too: both ways of listening behave the same
    return socket.create_server((host, port), family=family, backlog=2048)
