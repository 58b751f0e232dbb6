"""`triton-gateway roles`: manages roles: permissions, and the weight in the scheduler."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.roles import GRANTABLE
from frontend.commands.accounts import (
    Answer,
    add_command,
    given,
    parser_of,
    run_command,
    weight,
)
from frontend.commands.find import find_role, read_all
from frontend.dialects.admin.answers import show_role

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_ROLE = ("name", "weight", "permissions", "built_in")


def main(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway roles`; returns its exit code."""
    parser, commands = parser_of("roles", "Create, list, edit and delete roles.")
    add_command(commands, "list", "list roles", _list_roles)
    show = add_command(commands, "show", "show a role", _show_role)
    create = add_command(commands, "create", "create a role", _create_role)
    edit = add_command(commands, "edit", "edit a role", _edit_role)
    delete = add_command(commands, "delete", "delete an unused role", _delete_role)
    for each in (show, create, edit, delete):
        each.add_argument("name", help="the role's name")
    known = ", ".join(GRANTABLE)
    create.add_argument("--weight", type=weight, default=1, help="share in the scheduler")
    create.add_argument("--permission", action="append", default=[], help=f"repeatable: {known}")
    edit.add_argument("--weight", type=weight, help="share in the scheduler")
    edit.add_argument(
        "--permission", action="append", help=f"replaces its permissions; repeatable: {known}"
    )
    return run_command(parser.parse_args(arguments))


async def _list_roles(directory: "Directory", _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.roles.page)
    return Answer([show_role(row) for row in rows], _ROLE)


async def _show_role(directory: "Directory", options: argparse.Namespace) -> Answer:
    return Answer(show_role(await find_role(directory, options.name)), _ROLE)


async def _create_role(directory: "Directory", options: argparse.Namespace) -> Answer:
    made = await directory.roles.create(OPERATOR, options.name, options.weight, options.permission)
    return Answer(show_role(made), _ROLE)


async def _edit_role(directory: "Directory", options: argparse.Namespace) -> Answer:
    role = await find_role(directory, options.name)
    values = given(options, "weight")
    if options.permission is not None:
        values["permissions"] = options.permission
    return Answer(show_role(await directory.roles.edit(OPERATOR, role.name, values)), _ROLE)


async def _delete_role(directory: "Directory", options: argparse.Namespace) -> Answer:
    role = await find_role(directory, options.name)
    await directory.roles.delete(OPERATOR, role.name)
    return Answer({"id": options.name, "deleted": True}, note=f"Deleted '{options.name}'.")
