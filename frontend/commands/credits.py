"""`triton-gateway credits`: balances, and grants."""

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
from frontend.commands.holders import add_holder, holder_of
from frontend.commands.parser import number
from frontend.dialects.admin import plans as shown
from frontend.dialects.read import read

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_CREDITS = ("scope_kind", "scope_id", "available", "reserved", "spent", "expired", "granted")


def main(arguments: Sequence[str]) -> int:
    """Runs `credits`; returns its exit code."""
    parser, commands = parser_of("credits", "Show and grant credits.")
    show = add_command(commands, "show", "show a holder's balances", _show_credits)
    grant = add_command(
        commands, "grant", "grant credits; a negative amount takes them back", _grant
    )
    grant.add_argument("credits", type=number, help="how many; below 0: taken back")
    grant.add_argument("--note", default="", help="the reason, for the ledger")
    for each in (show, grant):
        add_holder(each, keys=False, required=True)
    return run_command(parser.parse_args(arguments))


async def _show_credits(directory: "Directory", options: argparse.Namespace) -> Answer:
    whose = await holder_of(directory, options)
    kind, holder = whose["scope_kind"], whose["scope_id"]
    balances = await directory.subscriptions.credits(kind, holder)
    return Answer(shown.show_credits(kind, holder, balances), _CREDITS)


async def _grant(directory: "Directory", options: argparse.Namespace) -> Answer:
    whose = await holder_of(directory, options)
    body = read(shown.CreditsBody, {**whose, **given(options, "credits", "note")})
    kind, holder, amount = body.scope_kind, body.scope_id, shown.micro(body.credits)
    balances = await directory.subscriptions.grant(OPERATOR, kind, holder, amount, body.note)
    return Answer(shown.show_credits(kind, holder, balances), _CREDITS)
