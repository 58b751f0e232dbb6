"""`triton-gateway users`: manages accounts of people and programs."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.roles import DEFAULT_ROLE
from frontend.commands.accounts import (
    Answer,
    add_command,
    given,
    parser_of,
    run_command,
)
from frontend.commands.find import find_group, find_role, find_user, read_all
from frontend.dialects.admin.answers import show_user

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_COLUMNS = ("id", "name", "role", "group_id", "email", "disabled")


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    return run_command(_parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    parser, commands = parser_of("users", "Create, list, edit and delete users.")
    listed = add_command(commands, "list", "list users", _list)
    listed.add_argument("--role", help="only users with this role")
    listed.add_argument("--group", help="only users of this group, by name or id")
    show = add_command(commands, "show", "show a user", _show)
    create = add_command(commands, "create", "create a user; `keys create` makes a key", _create)
    create.add_argument("name", help="the name, unique among users")
    create.add_argument("--role", default=DEFAULT_ROLE, help=f"default: {DEFAULT_ROLE}")
    create.add_argument("--group", help="the group, by name or id (default: 'default')")
    create.add_argument("--email")
    create.add_argument("--display-name", default="")
    edit = add_command(commands, "edit", "edit a user", _edit)
    for flag in ("--name", "--role", "--display-name"):
        edit.add_argument(flag)
    address = edit.add_mutually_exclusive_group()
    address.add_argument("--email")
    address.add_argument("--no-email", action="store_true", help="remove the address")
    edit.add_argument("--group", help="the group to move to, by name or id")
    disable = add_command(commands, "disable", "refuse all keys of a user", _disable)
    enable = add_command(commands, "enable", "accept the keys of a disabled user again", _enable)
    delete = add_command(commands, "delete", "delete a user and all keys; usage is kept", _delete)
    password = add_command(
        commands, "password", "set a one-time password, print it, and end all sessions", _reset
    )
    factor = add_command(
        commands, "reset-factor", "remove a lost second factor, and end all sessions", _reset_factor
    )
    for each in (show, edit, disable, enable, delete, password, factor):
        each.add_argument("user", help="the user's name or id")
    return parser


async def _list(directory: "Directory", options: argparse.Namespace) -> Answer:
    filters = {}
    if options.role is not None:
        filters["role"] = (await find_role(directory, options.role)).name
    if options.group is not None:
        filters["group_id"] = (await find_group(directory, options.group)).id
    rows = await read_all(directory.users.page, **filters)
    return Answer([show_user(row) for row in rows], _COLUMNS)


async def _show(directory: "Directory", options: argparse.Namespace) -> Answer:
    return Answer(show_user(await find_user(directory, options.user)), _COLUMNS)


async def _create(directory: "Directory", options: argparse.Namespace) -> Answer:
    from frontend.accounts.directory.users import NewUser

    group_id = None
    if options.group is not None:
        group_id = (await find_group(directory, options.group)).id
    role = (await find_role(directory, options.role)).name
    new = NewUser(options.name, role, group_id, options.display_name, options.email)
    made = await directory.users.create(OPERATOR, new)
    note = f"`triton-gateway keys create {made.name}` makes a key for this user."
    return Answer(show_user(made), _COLUMNS, note=note)


async def _edit(directory: "Directory", options: argparse.Namespace) -> Answer:
    values = given(options, "name", "role", "email", "display_name")
    if options.no_email:
        values["email"] = None
    if options.role is not None:
        await find_role(directory, options.role)
    if options.group is not None:
        values["group_id"] = (await find_group(directory, options.group)).id
    return await _change(directory, options, **values)


async def _disable(directory: "Directory", options: argparse.Namespace) -> Answer:
    return await _change(directory, options, disabled=True)


async def _enable(directory: "Directory", options: argparse.Namespace) -> Answer:
    return await _change(directory, options, disabled=False)


async def _change(directory: "Directory", options: argparse.Namespace, **values: object) -> Answer:
    user = await find_user(directory, options.user)
    return Answer(show_user(await directory.users.edit(OPERATOR, user.id, values)), _COLUMNS)


async def _delete(directory: "Directory", options: argparse.Namespace) -> Answer:
    user = await find_user(directory, options.user)
    await directory.users.delete(OPERATOR, user.id)
    return Answer({"id": user.id, "deleted": True}, note=f"Deleted the user '{user.name}'.")


async def _reset(directory: "Directory", options: argparse.Namespace) -> Answer:
    user = await find_user(directory, options.user)
    password = await directory.users.reset_password(OPERATOR, user.id, once=True)
    shown = {"id": user.id, "name": user.name, "password": password}
    note = "It works for one sign-in, which asks for a new one. It cannot be shown again."
    return Answer(shown, secret=password, note=note)


async def _reset_factor(directory: "Directory", options: argparse.Namespace) -> Answer:
    user = await find_user(directory, options.user)
    await directory.factors.reset(OPERATOR, user.id)
    note = f"Removed the second factor of '{user.name}'; the password is enough to sign in now."
    return Answer({"id": user.id, "second_factor": False}, note=note)
