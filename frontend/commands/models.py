"""`triton-gateway models`: lists the models of the gateway's upstreams, loads and unloads them.

It talks to the upstreams itself, so no gateway has to run; a running one notices at its next poll.
Registered upstreams whose key cannot be read here are left out, with a warning.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.accounts import Answer, Shown, add_command, parser_of, run_command
from frontend.dialects.admin.models import show_model
from frontend.domain.copies import StoredModel

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory
    from frontend.management import Management
    from frontend.upstreams.fleet import Fleet

_COLUMNS = ("model", "upstream", "state", "kind", "size_bytes", "last_used_at")
_WAIT_S = 3600.0


def main(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway models`; returns its exit code."""
    parser, commands = parser_of("models", "List, load and unload the models of the upstreams.")
    add_command(commands, "list", "list the models, and how each upstream has them", _list)
    texts = {"load": "load a model, or what changed of it", "unload": "unload a model"}
    for name, text in texts.items():
        command = add_command(commands, name, text, _change)
        command.add_argument("model", help="its name or an alias")
        command.add_argument("--upstream", help="only there (default: everywhere)")
        command.set_defaults(action=name)
    return run_command(parser.parse_args(arguments))


async def _list(directory: "Directory", _: argparse.Namespace) -> Answer:
    async with _management(directory) as management:
        models = await management.all(OPERATOR.scope)
    return Answer([line for one in models for line in _lines(one)], _COLUMNS)


async def _change(directory: "Directory", options: argparse.Namespace) -> Answer:
    async with _management(directory) as management:
        change = management.load if options.action == "load" else management.unload
        one = await change(OPERATOR, options.model, options.upstream, _WAIT_S)
    return Answer(_lines(one), _COLUMNS)


def _lines(one: StoredModel) -> list[Shown]:
    """A line for each copy."""
    shown = show_model(one)
    facts = {"model": one.name, "kind": shown["kind"], "size_bytes": shown["size_bytes"]}
    return [{**copy, **facts} for copy in shown["upstreams"]]


@asynccontextmanager
async def _management(directory: "Directory") -> "AsyncIterator[Management]":
    from frontend.management import Management

    fleet = await _fleet(directory)
    management = Management(fleet, directory.groups.changes)
    await asyncio.gather(*(one.registry.refresh() for one in fleet.members))
    try:
        yield management
    finally:
        await management.close()
        await fleet.close()


async def _fleet(directory: "Directory") -> "Fleet":
    """The upstreams of the settings and those that are registered."""
    from frontend.accounts.directory.backends import Backends
    from frontend.engines import BadUpstream, Engines
    from frontend.reach import Reach
    from frontend.settings import BackendSettings
    from frontend.upstreams.fleet import Fleet

    settings = BackendSettings()
    triton: Any = settings.triton_key, settings.repository
    engines = Engines(
        settings.poll_interval_s,
        settings.models,
        settings.keep_s,
        triton,
        files=settings.model_files,
    )
    fleet, reach = Fleet(), Reach(settings.reachable)
    fleet.members += [engines.make(one) for one in settings.entries]
    named = {one.name for one in fleet.members}
    backends = Backends(directory.groups.changes, reach.addresses, named)
    for row in await backends.all():
        if row.name in named or not row.enabled:
            continue
        try:
            fleet.members.append(await engines.make_registered(row, reach, settings.backend_keys))
        except BadUpstream as error:
            sys.stderr.write(f"warning: {error}\n")
    return fleet
