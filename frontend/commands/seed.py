"""`triton-gateway seed`: a demonstration organisation, with random passwords printed once."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.accounts import Answer, Shown, run_command, set_work
from frontend.commands.parser import Parser

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_USERS = {
    "research": ("demo-admin:admin", "demo-faculty:faculty", "demo-staff:staff"),
    "teaching": ("demo-student1:student", "demo-student2:student", "demo-service:service"),
}
_COLUMNS = ("name", "role", "group", "password", "key")


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="triton-gateway seed",
        description="Create a demonstration organisation with two groups and six users, and print"
        " their passwords and keys once.",
    )
    parser.add_argument("--name", default="demo", help="the organisation's name (default: demo)")
    set_work(parser, _seed)
    return run_command(parser.parse_args(arguments))


async def _seed(directory: "Directory", options: argparse.Namespace) -> Answer:
    from frontend.accounts.directory.keys import NewKey
    from frontend.accounts.directory.users import NewUser

    organisation = await directory.organisations.create(OPERATOR, options.name)
    rows: list[Shown] = []
    for group_name, members in _USERS.items():
        group = await directory.groups.create(OPERATOR, group_name, organisation.id, 1)
        for member in members:
            name, _, role = member.partition(":")
            user = await directory.users.create(OPERATOR, NewUser(name, role, group.id))
            password = await directory.users.reset_password(OPERATOR, user.id)
            made = await directory.keys.create(OPERATOR, user.id, NewKey("demo"))
            shown = {"name": name, "role": role, "group": group_name}
            rows.append({**shown, "password": password, "key": made.text})
    return Answer(rows, _COLUMNS, note="Passwords and keys cannot be shown again.")
