"""`triton-gateway keys` on the database: create, list, rotate, revoke, import."""

import argparse
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontend.accounts.credentials import DEFAULT_GRACE_S
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.keyfile import list_keys
from frontend.accounts.roles import DEFAULT_ROLE
from frontend.commands.accounts import (
    Answer,
    add_command,
    given,
)
from frontend.commands.find import find_key, find_user, read_all
from frontend.dialects.admin.answers import show_key, show_made_key
from frontend.dialects.admin.bodies import RotationBody
from frontend.dialects.read import read

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory
    from frontend.accounts.directory.keys import Budget, NewKey

_KEY = ("id", "name", "user_id", "models", "endpoints", "networks", "expires_at", "disabled")
_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ONCE = "The key cannot be shown again."


def add_commands(commands: Any) -> None:
    """Adds the sub-commands of `triton-gateway keys` for keys in the database."""
    create = add_command(commands, "create", "create a key of a user and print it", _create)
    create.add_argument("user", help="the owner's name or id")
    create.add_argument("--name", default="", help="a name to recognize the key by")
    add_limits(create)
    rotate = add_command(
        commands, "rotate", "replace a key; the old one stays valid for the grace period", _rotate
    )
    rotate.add_argument(
        "--grace",
        type=duration_s,
        default=DEFAULT_GRACE_S,
        help="how long the old key stays valid, such as 30m, 12h or 7d (default: 1d)",
    )
    revoke = add_command(
        commands, "revoke", "delete a key of the database; its usage is kept", _revoke
    )
    show = add_command(commands, "show", "show a key of the database, not its text", _show)
    edit = add_command(commands, "edit", "change what a key is limited to", _edit)
    edit.add_argument("--name", help="a name to recognize the key by")
    edit.add_argument("--disabled", action=argparse.BooleanOptionalAction, help="refuse the key")
    _add_scopes(edit)
    for each in (show, edit, rotate, revoke):
        each.add_argument("key", help="the key's public id")
    taken = add_command(
        commands, "import", "copy the keys of a key file into the database", _import
    )
    taken.add_argument("source", metavar="FILE", type=Path, help="the key file")
    taken.add_argument(
        "--role",
        default=DEFAULT_ROLE,
        help=f"the role of owners that are 'user' there (default: {DEFAULT_ROLE})",
    )


def add_list(commands: Any) -> argparse.ArgumentParser:
    """Adds `list`, which shows the database's keys."""
    listed = add_command(commands, "list", "list the keys of the database, or of a file", _list)
    listed.add_argument("--user", help="only keys of this user, by name or id")
    return listed


def budget(text: str) -> "Budget":
    """A budget such as `100000/month`, for argparse."""
    from frontend.accounts.directory.keys import Budget

    tokens, _, period = text.partition("/")
    if not tokens.isdigit() or len(tokens) > 15 or not period:
        raise argparse.ArgumentTypeError(f"'{text[:30]}' is not a budget such as 100000/month")
    return Budget(int(tokens), period)


def duration_s(text: str) -> int:
    """Seconds of a duration such as `12h`, for argparse."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a duration such as 30m, 12h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Adds the options for what a key is limited to."""
    _add_scopes(parser)
    text = "tokens in each period, such as 100000/month or 5000/12h (default: no budget)"
    parser.add_argument("--budget", type=budget, help=text)


def _add_scopes(parser: argparse.ArgumentParser) -> None:
    for flag, text in (
        ("--model", "a model that the key may use, '*' for any text; repeatable"),
        ("--endpoint", "a route that the key may use, such as '/v1/*'; repeatable"),
        ("--network", "an address or network that the key may be used from; repeatable"),
    ):
        parser.add_argument(flag, action="append", help=text)
    parser.add_argument(
        "--expires-in",
        type=duration_s,
        help="lifetime, such as 12h or 90d (default: it does not expire)",
    )


def new_key(options: argparse.Namespace, name: str) -> "NewKey":
    """A key with the limits of these options."""
    from frontend.accounts.directory.keys import NewKey

    expires_at_us = None
    if options.expires_in is not None:
        expires_at_us = _end_us(options.expires_in)
    scopes = (options.model, options.endpoint, options.network)
    return NewKey(name, *scopes, expires_at_us, options.budget)


def _end_us(seconds: int) -> int:
    return time.time_ns() // 1000 + seconds * 1_000_000


async def _show(directory: "Directory", options: argparse.Namespace) -> Answer:
    return Answer(show_key(await find_key(directory, options.key)), _KEY)


async def _edit(directory: "Directory", options: argparse.Namespace) -> Answer:
    key = await find_key(directory, options.key)
    values = given(options, "name", "disabled")
    for option, column in (("model", "models"), ("endpoint", "endpoints"), ("network", "networks")):
        if (patterns := getattr(options, option)) is not None:
            # '*' alone does not limit, which is stored as none
            values[column] = None if patterns == ["*"] else patterns
    if options.expires_in is not None:
        values["expires_at_us"] = _end_us(options.expires_in)
    return Answer(show_key(await directory.keys.edit(OPERATOR, key.id, values)), _KEY)


async def _create(directory: "Directory", options: argparse.Namespace) -> Answer:
    user = await find_user(directory, options.user)
    made = await directory.keys.create(OPERATOR, user.id, new_key(options, options.name))
    assert made.text is not None
    return Answer(show_made_key(made.key, made.text), secret=made.text, note=_ONCE)


async def _list(directory: "Directory", options: argparse.Namespace) -> Answer:
    filters = {}
    if options.user is not None:
        filters["user_id"] = (await find_user(directory, options.user)).id
    rows = await read_all(directory.keys.page, **filters)
    return Answer([show_key(row) for row in rows], _KEY)


async def _rotate(directory: "Directory", options: argparse.Namespace) -> Answer:
    key = await find_key(directory, options.key)
    grace_s = read(RotationBody, {"grace_s": options.grace}).grace_s
    made = await directory.keys.rotate(OPERATOR, key.id, grace_s)
    assert made.text is not None
    note = f"The old key works for {grace_s} more seconds. {_ONCE}"
    return Answer(show_made_key(made.key, made.text), secret=made.text, note=note)


async def _revoke(directory: "Directory", options: argparse.Namespace) -> Answer:
    key = await find_key(directory, options.key)
    await directory.keys.delete(OPERATOR, key.id)
    note = f"Revoked {key.id}; running gateways refuse it within two seconds."
    return Answer({"id": key.id, "deleted": True}, note=note)


async def _import(directory: "Directory", options: argparse.Namespace) -> Answer:
    from frontend.accounts.directory.file_keys import import_keys

    names = {"user": options.role, "admin": "admin"}
    lines, changes = list_keys(options.source), directory.keys.changes
    added = await import_keys(changes, OPERATOR, lines, names)
    note = f"Imported {len(added)} keys; the others were imported before."
    return Answer([show_key(row) for row in added], _KEY, note=note)
