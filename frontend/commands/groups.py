"""`triton-gateway groups`: manages groups of users who share a budget."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.accounts import (
    Answer,
    add_command,
    given,
    parser_of,
    run_command,
    weight,
)
from frontend.commands.find import (
    find_group,
    find_organisation,
    read_all,
)
from frontend.dialects.admin.answers import show_group

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_GROUP = ("id", "name", "organisation_id", "weight", "audit", "disabled")
_POLICIES = ("audit", "audit_strict", "audit_days")


def main(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway groups`; returns its exit code."""
    parser, commands = parser_of("groups", "Create, list, edit and delete groups.")
    add_command(commands, "list", "list groups", _list_groups)
    show = add_command(commands, "show", "show a group", _show_group)
    create = add_command(commands, "create", "create a group", _create_group)
    create.add_argument("name", help="the name, unique in its organisation")
    create.add_argument("--organisation", help="its organisation's name or id (default: 'default')")
    create.add_argument("--weight", type=weight, default=1, help="share in the scheduler")
    _add_policies(create)
    edit = add_command(commands, "edit", "edit a group", _edit_group)
    edit.add_argument("--name")
    edit.add_argument("--weight", type=weight, help="share in the scheduler")
    _add_policies(edit)
    edit.add_argument("--disabled", action=argparse.BooleanOptionalAction)
    delete = add_command(commands, "delete", "delete an empty group", _delete_group)
    for each in (show, edit, delete):
        each.add_argument("group", help="the group's name or id")
    return run_command(parser.parse_args(arguments))


def _add_policies(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--audit",
        choices=("none", "metadata", "full"),
        help="what the audit keeps about its requests",
    )
    command.add_argument(
        "--audit-strict",
        action=argparse.BooleanOptionalAction,
        help="refuse requests whose audit records could be lost",
    )
    command.add_argument("--audit-days", type=_days, help="days until audit records are removed")
    command.add_argument(
        "--upstreams",
        nargs="+",
        metavar="LABEL=VALUE,…",
        help="labels that upstreams of its prompts must have, such as site=local; or 'any'",
    )


def _policies(options: argparse.Namespace) -> dict[str, Any]:
    values = given(options, *_POLICIES)
    if options.upstreams == ["any"]:
        values["upstreams"] = None
    elif options.upstreams is not None:
        pairs = (one.partition("=") for one in options.upstreams)
        values["upstreams"] = {name: allowed.split(",") for name, _, allowed in pairs}
    return values


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text[:9]) <= 36_500:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a whole number from 1 to 36500")
    return int(text)


async def _list_groups(directory: "Directory", _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.groups.page)
    return Answer([show_group(row) for row in rows], _GROUP)


async def _show_group(directory: "Directory", options: argparse.Namespace) -> Answer:
    return Answer(show_group(await find_group(directory, options.group)), _GROUP)


async def _create_group(directory: "Directory", options: argparse.Namespace) -> Answer:
    parent = None
    if options.organisation is not None:
        parent = (await find_organisation(directory, options.organisation)).id
    made = await directory.groups.create(
        OPERATOR, options.name, parent, options.weight, **_policies(options)
    )
    return Answer(show_group(made), _GROUP)


async def _edit_group(directory: "Directory", options: argparse.Namespace) -> Answer:
    one = await find_group(directory, options.group)
    values = given(options, "name", "weight", "disabled") | _policies(options)
    return Answer(show_group(await directory.groups.edit(OPERATOR, one.id, values)), _GROUP)


async def _delete_group(directory: "Directory", options: argparse.Namespace) -> Answer:
    one = await find_group(directory, options.group)
    await directory.groups.delete(OPERATOR, one.id)
    return Answer({"id": one.id, "deleted": True}, note=f"Deleted '{one.name}'.")
