"""`triton-gateway key-requests`: decides on requests from people without an account."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.roles import DEFAULT_ROLE
from frontend.commands.accounts import (
    Answer,
    add_command,
    parser_of,
    run_command,
)
from frontend.commands.find import find_group, find_role, read_all
from frontend.commands.stored_keys import add_limits, new_key
from frontend.dialects.admin.answers import show_request
from frontend.domain.accounts import KEY_REQUEST_STATUSES

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_REQUEST = ("id", "status", "name", "email", "reason")


def main(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway key-requests`; returns its exit code."""
    parser, commands = parser_of("key-requests", "Approve and refuse requests for keys.")
    listed = add_command(commands, "list", "list requests", _list_requests)
    text = "default: pending"
    listed.add_argument("--status", default="pending", choices=KEY_REQUEST_STATUSES, help=text)
    approve = add_command(commands, "approve", "make the account and enable its key", _approve)
    approve.add_argument("--name", help="the account's name (default: the requested one)")
    approve.add_argument("--role", default=DEFAULT_ROLE, help=f"default: {DEFAULT_ROLE}")
    approve.add_argument("--group", help="the group, by name or id (default: 'default')")
    add_limits(approve)
    refuse = add_command(commands, "refuse", "refuse a request", _refuse)
    refuse.add_argument("--note", default="", help="the reason, which the applicant sees")
    for each in (approve, refuse):
        each.add_argument("request", help="the request's id")
    return run_command(parser.parse_args(arguments))


async def _list_requests(directory: "Directory", options: argparse.Namespace) -> Answer:
    rows = await read_all(directory.requests.page, status=options.status)
    return Answer([show_request(row) for row in rows], _REQUEST)


async def _approve(directory: "Directory", options: argparse.Namespace) -> Answer:
    from frontend.accounts.directory.requests import Approval
    from frontend.accounts.directory.users import NewUser

    asked = await directory.requests.get(options.request)
    group_id = None
    if options.group is not None:
        group_id = (await find_group(directory, options.group)).id
    role = (await find_role(directory, options.role)).name
    user = NewUser(options.name or asked.name, role, group_id, "", asked.email)
    approval = Approval(user, new_key(options, ""))
    decided = await directory.requests.approve(OPERATOR, asked.id, approval)
    return Answer(show_request(decided), _REQUEST)


async def _refuse(directory: "Directory", options: argparse.Namespace) -> Answer:
    decided = await directory.requests.refuse(OPERATOR, options.request, options.note)
    return Answer(show_request(decided), _REQUEST)
