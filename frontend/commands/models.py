"""`triton-gateway models`: lists the models of the gateway's upstreams, loads and unloads them, and
lets several of them share the requests for one name.

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
from frontend.dialects.admin.canaries import (
    CanaryBody,
    CanaryEdit,
    changes_of,
    show_canary,
    targets_of,
)
from frontend.dialects.admin.models import show_model
from frontend.dialects.read import read
from frontend.domain.copies import StoredModel

if TYPE_CHECKING:
    from frontend.accounts.directory.canaries import Canaries
    from frontend.accounts.directory.directory import Directory
    from frontend.domain.canaries import Canary
    from frontend.management import Management
    from frontend.upstreams.fleet import Fleet

_COLUMNS = ("model", "upstream", "state", "kind", "size_bytes", "last_used_at")
_TARGETS = ("name", "model", "percent", "stable", "withdrawn_at", "reason")
_WAIT_S = 3600.0


def main(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway models`; returns its exit code."""
    parser, commands = parser_of("models", "List, load and unload the models of the upstreams.")
    add_command(commands, "list", "list the models and their state at each upstream", _list)
    texts = {"load": "load a model, or load its changes", "unload": "unload a model"}
    for name, text in texts.items():
        command = add_command(commands, name, text, _change)
        command.add_argument("model", help="its name or an alias")
        command.add_argument("--upstream", help="only at this upstream (default: all)")
        command.set_defaults(action=name)
    canary = commands.add_parser(
        "canary", help="split the requests for a name between several models"
    )
    _add_canaries(canary.add_subparsers(required=True, metavar="COMMAND"))
    return run_command(parser.parse_args(arguments))


def _add_canaries(commands: Any) -> None:
    add_command(commands, "list", "list the canaries", _list_canaries)
    text = "create or change a canary"
    change = add_command(commands, "set", text, _set_canary)
    change.add_argument("model", help="the name that clients ask for")
    change.add_argument(
        "targets", nargs="*", type=_target, metavar="MODEL=PERCENT",
        help="the models and their shares, which add up to 100; the first is the stable model",
    )  # fmt: skip
    change.add_argument(
        "--sticky",
        choices=("user", "session"),
        help="all requests of one user or session get the same model",
    )
    change.add_argument(
        "--max-error-percent", type=int, help="error rate above which a model is withdrawn"
    )
    change.add_argument(
        "--min-requests", type=int, help="requests needed before the error rate counts"
    )
    promote = add_command(commands, "promote", "send all requests to one model", _promote)
    promote.add_argument("model", help="the name that clients ask for")
    promote.add_argument("target", help="the model that gets them")
    end = add_command(commands, "delete", "end a canary", _delete_canary)
    end.add_argument("model", help="the name that clients ask for")


def _target(text: str) -> dict[str, Any]:
    model, _, percent = text.rpartition("=")
    try:
        return {"model": model, "percent": float(percent)}
    except ValueError:
        problem = f"'{text[:80]}' must be MODEL=PERCENT, such as chat-new=5"
        raise argparse.ArgumentTypeError(problem) from None


def _canaries(directory: "Directory", management: "Management") -> "Canaries":
    from frontend.accounts.directory.canaries import Canaries

    return Canaries(directory.groups.changes, management.fleet.find_own)


async def _list_canaries(directory: "Directory", _: argparse.Namespace) -> Answer:
    from frontend.accounts.directory.canaries import MOST
    from frontend.store.records import Range

    async with _management(directory) as management:
        found = await _canaries(directory, management).page(Range(MOST))
    return Answer([line for one in found for line in _targets(one)], _TARGETS)


async def _set_canary(directory: "Directory", options: argparse.Namespace) -> Answer:
    from frontend.accounts.directory.canaries import MOST, NewCanary
    from frontend.store.records import Range

    names = ("targets", "sticky", "max_error_percent", "min_requests")
    given = {name: value for name in names if (value := getattr(options, name))}
    async with _management(directory) as management:
        canaries = _canaries(directory, management)
        if any(one.name == options.model for one in await canaries.page(Range(MOST))):
            values, _ = changes_of(read(CanaryEdit, given))
            made = await canaries.edit(OPERATOR, options.model, values)
        else:
            body = read(CanaryBody, {"model": options.model, **given})
            limits = body.sticky, body.max_error_percent, body.min_requests
            new = NewCanary(body.model, targets_of(body.targets), *limits)
            made = await canaries.create(OPERATOR, new)
    return Answer(_targets(made), _TARGETS)


async def _promote(directory: "Directory", options: argparse.Namespace) -> Answer:
    async with _management(directory) as management:
        canaries = _canaries(directory, management)
        promoted = await canaries.promote(OPERATOR, options.model, options.target)
    return Answer(_targets(promoted), _TARGETS)


async def _delete_canary(directory: "Directory", options: argparse.Namespace) -> Answer:
    async with _management(directory) as management:
        gone = await _canaries(directory, management).delete(OPERATOR, options.model)
    return Answer({"id": gone.id, "deleted": True}, note=f"Ended the canary of '{gone.name}'.")


def _targets(one: "Canary") -> list[Shown]:
    """A line for each target."""
    shown = show_canary(one)
    return [{**target, "name": one.name} for target in shown["targets"]]


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
