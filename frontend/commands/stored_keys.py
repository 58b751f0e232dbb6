"""`triton-gateway keys` on the database, and `triton-gateway key-requests`."""

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frontend.accounts.directory.change import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import DEFAULT_GRACE_S, MAX_GRACE_S, NewKey
from frontend.accounts.directory.requests import Approval
from frontend.accounts.directory.users import DEFAULT_ROLE, NewUser
from frontend.accounts.keyfile import list_keys
from frontend.commands.accounts import (
    Answer,
    add_command,
    find_group,
    find_user,
    parser_of,
    read_all,
    run_command,
)
from frontend.dialects.admin.answers import show_key, show_made_key, show_request

_KEY = ("id", "name", "user_id", "models", "endpoints", "networks", "expires_at", "disabled")
_REQUEST = ("id", "status", "name", "email", "reason")
_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ONCE = "The key cannot be shown again."


def add_commands(commands: Any) -> None:
    """Adds what `triton-gateway keys` does to the database."""
    create = add_command(commands, "create", "create a key of a user and print it", _create)
    create.add_argument("user", help="the owner's name or id")
    create.add_argument("--name", default="", help="a name to recognize the key by")
    _add_limits(create)
    rotate = add_command(
        commands, "rotate", "replace a key; the old one works for a while", _rotate
    )
    rotate.add_argument("key", help="the key's public id")
    rotate.add_argument(
        "--grace", type=duration_s, default=DEFAULT_GRACE_S, help="as in 30m, 12h, 7d (default: 1d)"
    )
    revoke = add_command(
        commands, "revoke", "delete a key of the database; its usage stays", _revoke
    )
    revoke.add_argument("key", help="the key's public id")
    taken = add_command(
        commands, "import", "copy the keys of a key file into the database", _import
    )
    taken.add_argument("source", metavar="FILE", type=Path, help="the key file")
    taken.add_argument(
        "--role", default=DEFAULT_ROLE, help=f"of who is a 'user' there (default: {DEFAULT_ROLE})"
    )


def add_list(commands: Any) -> argparse.ArgumentParser:
    """Adds `list`, which shows the database's keys."""
    listed = add_command(commands, "list", "list the keys of the database, or of a file", _list)
    listed.add_argument("--user", help="only keys of this user, by name or id")
    return listed


def requests(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway key-requests`; returns its exit code."""
    parser, commands = parser_of("key-requests", "Decide on requests for keys.")
    listed = add_command(commands, "list", "list requests", _list_requests)
    listed.add_argument("--status", default="pending", help="pending (default), approved, refused")
    approve = add_command(commands, "approve", "make the account and enable its key", _approve)
    approve.add_argument("--name", help="the account's name, if not as requested")
    approve.add_argument("--role", default=DEFAULT_ROLE, help=f"default: {DEFAULT_ROLE}")
    approve.add_argument("--group", help="the group, by name or id (default: 'default')")
    _add_limits(approve)
    refuse = add_command(commands, "refuse", "refuse a request", _refuse)
    refuse.add_argument("--note", default="", help="what the applicant is shown")
    for each in (approve, refuse):
        each.add_argument("request", help="the request's id")
    return run_command(parser.parse_args(arguments))


def duration_s(text: str) -> int:
    """Seconds of a duration such as `12h`, for argparse."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a duration such as 30m, 12h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def _add_limits(parser: argparse.ArgumentParser) -> None:
    for flag, text in (
        ("--model", "a model that the key may use, '*' for any text; repeat it"),
        ("--endpoint", "a route that the key may use, as in '/v1/*'; repeat it"),
        ("--network", "an address or network that the key may be used from; repeat it"),
    ):
        parser.add_argument(flag, action="append", help=text)
    parser.add_argument("--expires-in", type=duration_s, help="as in 12h or 90d (default: never)")


def _new_key(options: argparse.Namespace, name: str) -> NewKey:
    expires_at_us = None
    if options.expires_in is not None:
        expires_at_us = time.time_ns() // 1000 + options.expires_in * 1_000_000
    return NewKey(name, options.model, options.endpoint, options.network, expires_at_us)


async def _create(directory: Directory, options: argparse.Namespace) -> Answer:
    user = await find_user(directory, options.user)
    made = await directory.keys.create(OPERATOR, user.id, _new_key(options, options.name))
    assert made.text is not None
    return Answer(show_made_key(made.key, made.text), secret=made.text, note=_ONCE)


async def _list(directory: Directory, options: argparse.Namespace) -> Answer:
    filters = {}
    if options.user is not None:
        filters["user_id"] = (await find_user(directory, options.user)).id
    rows = await read_all(directory.keys.page, **filters)
    return Answer([show_key(row) for row in rows], _KEY)


async def _rotate(directory: Directory, options: argparse.Namespace) -> Answer:
    grace_s = min(options.grace, MAX_GRACE_S)
    made = await directory.keys.rotate(OPERATOR, options.key, grace_s)
    assert made.text is not None
    note = f"The old key works for {grace_s} more seconds. {_ONCE}"
    return Answer(show_made_key(made.key, made.text), secret=made.text, note=note)


async def _revoke(directory: Directory, options: argparse.Namespace) -> Answer:
    await directory.keys.delete(OPERATOR, options.key)
    note = f"Revoked {options.key}; running gateways refuse it within two seconds."
    return Answer({"id": options.key, "deleted": True}, note=note)


async def _import(directory: Directory, options: argparse.Namespace) -> Answer:
    names = {"user": options.role, "admin": "admin"}
    added = await directory.keys.adopt(OPERATOR, list_keys(options.source), names)
    note = f"Imported {len(added)} keys; the others were imported before."
    return Answer([show_key(row) for row in added], _KEY, note=note)


async def _list_requests(directory: Directory, options: argparse.Namespace) -> Answer:
    rows = await read_all(directory.requests.page, status=options.status)
    return Answer([show_request(row) for row in rows], _REQUEST)


async def _approve(directory: Directory, options: argparse.Namespace) -> Answer:
    asked = await directory.requests.get(options.request)
    group_id = None
    if options.group is not None:
        group_id = (await find_group(directory, options.group)).id
    user = NewUser(options.name or asked.name, options.role, group_id, "", asked.email)
    approval = Approval(user, _new_key(options, ""))
    decided = await directory.requests.approve(OPERATOR, asked.id, approval)
    return Answer(show_request(decided), _REQUEST)


async def _refuse(directory: Directory, options: argparse.Namespace) -> Answer:
    decided = await directory.requests.refuse(OPERATOR, options.request, options.note)
    return Answer(show_request(decided), _REQUEST)
