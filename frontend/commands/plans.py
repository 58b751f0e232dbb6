"""`triton-gateway plans`: who has which plan."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.accounts import (
    Answer,
    add_command,
    parser_of,
    read_all,
    run_command,
)
from frontend.commands.holders import add_holder, holder_of
from frontend.dialects.admin import allowances as shown

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_PLAN = ("id", "name", "credits", "shared", "built_in")
_SUBSCRIPTION = ("id", "scope_kind", "scope_id", "plan_id", "next_plan_id", "period_ends_at")


def main(arguments: Sequence[str]) -> int:
    """Runs `plans`; returns its exit code."""
    parser, commands = parser_of("plans", "Assign plans to users, groups and organisations.")
    add_command(commands, "list", "list plans", _list_plans)
    add_command(commands, "subscriptions", "list subscriptions", _list_subscriptions)
    subscribe = add_command(commands, "subscribe", "assign or change a plan", _subscribe)
    subscribe.add_argument("plan", help="the plan's id")
    add_holder(subscribe, keys=False, required=True)
    return run_command(parser.parse_args(arguments))


async def _list_plans(directory: "Directory", _: argparse.Namespace) -> Answer:
    return Answer([shown.show_plan(row) for row in await read_all(directory.plans.page)], _PLAN)


async def _list_subscriptions(directory: "Directory", _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.subscriptions.page)
    return Answer([shown.show_subscription(row) for row in rows], _SUBSCRIPTION)


async def _subscribe(directory: "Directory", options: argparse.Namespace) -> Answer:
    whose = await holder_of(directory, options)
    kind, holder = whose["scope_kind"], whose["scope_id"]
    made = await directory.subscriptions.subscribe(OPERATOR, kind, holder, options.plan)
    return Answer(shown.show_subscription(made), _SUBSCRIPTION)
