"""`triton-gateway organisations`: manages organisations, which consist of groups."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.accounts import (
    Answer,
    add_command,
    given,
    parser_of,
    run_command,
)
from frontend.commands.find import (
    find_organisation,
    read_all,
)
from frontend.dialects.admin.answers import show_organisation

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_ORGANISATION = ("id", "name", "disabled")


def main(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway organisations`; returns its exit code."""
    parser, commands = parser_of("organisations", "Create, list, rename and delete organisations.")
    add_command(commands, "list", "list organisations", _list_organisations)
    show = add_command(commands, "show", "show an organisation", _show_organisation)
    create = add_command(commands, "create", "create an organisation", _create_organisation)
    create.add_argument("name", help="the name, unique among organisations")
    edit = add_command(commands, "edit", "edit an organisation", _edit_organisation)
    edit.add_argument("--name")
    edit.add_argument("--disabled", action=argparse.BooleanOptionalAction)
    delete = add_command(commands, "delete", "delete an empty organisation", _delete_organisation)
    for each in (show, edit, delete):
        each.add_argument("organisation", help="the organisation's name or id")
    return run_command(parser.parse_args(arguments))


async def _list_organisations(directory: "Directory", _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.organisations.page)
    return Answer([show_organisation(row) for row in rows], _ORGANISATION)


async def _show_organisation(directory: "Directory", options: argparse.Namespace) -> Answer:
    one = await find_organisation(directory, options.organisation)
    return Answer(show_organisation(one), _ORGANISATION)


async def _create_organisation(directory: "Directory", options: argparse.Namespace) -> Answer:
    made = await directory.organisations.create(OPERATOR, options.name)
    return Answer(show_organisation(made), _ORGANISATION)


async def _edit_organisation(directory: "Directory", options: argparse.Namespace) -> Answer:
    one = await find_organisation(directory, options.organisation)
    values = given(options, "name", "disabled")
    edited = await directory.organisations.edit(OPERATOR, one.id, values)
    return Answer(show_organisation(edited), _ORGANISATION)


async def _delete_organisation(directory: "Directory", options: argparse.Namespace) -> Answer:
    one = await find_organisation(directory, options.organisation)
    await directory.organisations.delete(OPERATOR, one.id)
    return Answer({"id": one.id, "deleted": True}, note=f"Deleted '{one.name}'.")
