"""`triton-gateway organisations`, `groups` and `roles`."""

import argparse
from collections.abc import Sequence

from frontend.accounts.directory.change import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.roles import GRANTABLE
from frontend.commands.accounts import (
    Answer,
    add_command,
    find_group,
    given,
    parser_of,
    read_all,
    run_command,
)
from frontend.dialects.admin.answers import show_group, show_organisation, show_role
from frontend.domain.accounts import Organisation

_ORGANISATION = ("id", "name", "disabled")
_GROUP = ("id", "name", "organisation_id", "weight", "disabled")
_ROLE = ("name", "weight", "permissions", "built_in")


def organisations(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway organisations`; returns its exit code."""
    parser, commands = parser_of("organisations", "Create, list, rename and delete organisations.")
    add_command(commands, "list", "list organisations", _list_organisations)
    create = add_command(commands, "create", "create an organisation", _create_organisation)
    create.add_argument("name", help="the name, unique among organisations")
    edit = add_command(commands, "edit", "edit an organisation", _edit_organisation)
    edit.add_argument("--name")
    edit.add_argument("--disabled", action=argparse.BooleanOptionalAction)
    delete = add_command(commands, "delete", "delete an empty organisation", _delete_organisation)
    for each in (edit, delete):
        each.add_argument("organisation", help="the organisation's name or id")
    return run_command(parser.parse_args(arguments))


def groups(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway groups`; returns its exit code."""
    parser, commands = parser_of("groups", "Create, list, edit and delete groups.")
    add_command(commands, "list", "list groups", _list_groups)
    create = add_command(commands, "create", "create a group", _create_group)
    create.add_argument("name", help="the name, unique in its organisation")
    create.add_argument("--organisation", help="its organisation's name or id (default: 'default')")
    create.add_argument("--weight", type=_weight, default=1, help="share in the scheduler")
    edit = add_command(commands, "edit", "edit a group", _edit_group)
    edit.add_argument("--name")
    edit.add_argument("--weight", type=_weight, help="share in the scheduler")
    edit.add_argument("--disabled", action=argparse.BooleanOptionalAction)
    delete = add_command(commands, "delete", "delete an empty group", _delete_group)
    for each in (edit, delete):
        each.add_argument("group", help="the group's name or id")
    return run_command(parser.parse_args(arguments))


def roles(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway roles`; returns its exit code."""
    parser, commands = parser_of("roles", "Create, list, edit and delete roles.")
    add_command(commands, "list", "list roles", _list_roles)
    create = add_command(commands, "create", "create a role", _create_role)
    edit = add_command(commands, "edit", "edit a role", _edit_role)
    delete = add_command(commands, "delete", "delete a role that no user has", _delete_role)
    for each in (create, edit, delete):
        each.add_argument("name", help="the role's name")
    known = ", ".join(GRANTABLE)
    create.add_argument("--weight", type=_weight, default=1, help="share in the scheduler")
    create.add_argument("--permission", action="append", default=[], help=f"repeat it: {known}")
    edit.add_argument("--weight", type=_weight, help="share in the scheduler")
    edit.add_argument("--permission", action="append", help=f"all that it has then: {known}")
    return run_command(parser.parse_args(arguments))


def _weight(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a whole number from 1 to 1000")
    return int(text)


async def _organisation(directory: Directory, text: str) -> Organisation:
    everything = await read_all(directory.organisations.page)
    named = [one for one in everything if one.name == text]
    return named[0] if named else await directory.organisations.get(text)


async def _list_organisations(directory: Directory, _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.organisations.page)
    return Answer([show_organisation(row) for row in rows], _ORGANISATION)


async def _create_organisation(directory: Directory, options: argparse.Namespace) -> Answer:
    made = await directory.organisations.create(OPERATOR, options.name)
    return Answer(show_organisation(made), _ORGANISATION)


async def _edit_organisation(directory: Directory, options: argparse.Namespace) -> Answer:
    one = await _organisation(directory, options.organisation)
    values = given(options, "name", "disabled")
    edited = await directory.organisations.edit(OPERATOR, one.id, values)
    return Answer(show_organisation(edited), _ORGANISATION)


async def _delete_organisation(directory: Directory, options: argparse.Namespace) -> Answer:
    one = await _organisation(directory, options.organisation)
    await directory.organisations.delete(OPERATOR, one.id)
    return Answer({"id": one.id, "deleted": True}, note=f"Deleted '{one.name}'.")


async def _list_groups(directory: Directory, _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.groups.page)
    return Answer([show_group(row) for row in rows], _GROUP)


async def _create_group(directory: Directory, options: argparse.Namespace) -> Answer:
    parent = None
    if options.organisation is not None:
        parent = (await _organisation(directory, options.organisation)).id
    made = await directory.groups.create(OPERATOR, options.name, parent, options.weight)
    return Answer(show_group(made), _GROUP)


async def _edit_group(directory: Directory, options: argparse.Namespace) -> Answer:
    one = await find_group(directory, options.group)
    values = given(options, "name", "weight", "disabled")
    return Answer(show_group(await directory.groups.edit(OPERATOR, one.id, values)), _GROUP)


async def _delete_group(directory: Directory, options: argparse.Namespace) -> Answer:
    one = await find_group(directory, options.group)
    await directory.groups.delete(OPERATOR, one.id)
    return Answer({"id": one.id, "deleted": True}, note=f"Deleted '{one.name}'.")


async def _list_roles(directory: Directory, _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.roles.page)
    return Answer([show_role(row) for row in rows], _ROLE)


async def _create_role(directory: Directory, options: argparse.Namespace) -> Answer:
    made = await directory.roles.create(OPERATOR, options.name, options.weight, options.permission)
    return Answer(show_role(made), _ROLE)


async def _edit_role(directory: Directory, options: argparse.Namespace) -> Answer:
    values = given(options, "weight")
    if options.permission is not None:
        values["permissions"] = options.permission
    return Answer(show_role(await directory.roles.edit(OPERATOR, options.name, values)), _ROLE)


async def _delete_role(directory: Directory, options: argparse.Namespace) -> Answer:
    await directory.roles.delete(OPERATOR, options.name)
    return Answer({"id": options.name, "deleted": True}, note=f"Deleted '{options.name}'.")
