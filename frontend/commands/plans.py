"""`triton-gateway plans`: manages plans and their subscribers."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.accounts import (
    Answer,
    add_command,
    given,
    parser_of,
    run_command,
)
from frontend.commands.find import find_plan, read_all
from frontend.commands.holders import add_holder, holder_of
from frontend.commands.parser import number, whole
from frontend.dialects.admin import plans as shown
from frontend.dialects.read import read

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_PLAN = ("id", "name", "credits", "shared", "built_in")
_SUBSCRIPTION = ("id", "scope_kind", "scope_id", "plan_id", "next_plan_id", "period_ends_at")


def main(arguments: Sequence[str]) -> int:
    """Runs `plans`; returns its exit code."""
    parser, commands = parser_of("plans", "Create, edit and assign plans.")
    add_command(commands, "list", "list plans", _list_plans)
    show = add_command(commands, "show", "show a plan with its limits", _show_plan)
    create = add_command(commands, "create", "create a plan", _create_plan)
    create.add_argument("name", help="the name, unique among plans")
    edit = add_command(commands, "edit", "edit a plan", _edit_plan)
    for each in (create, edit):
        text = "credits per calendar month, or 'unlimited'"
        each.add_argument("--credits", type=_credits, help=text)
        text = "one pool for a group or organisation"
        each.add_argument("--shared", action=argparse.BooleanOptionalAction, help=text)
        text = "a limit of every subscriber, as in tokens/minute=2000; repeat it for all"
        each.add_argument("--quota", type=_quota, action="append", help=text)
    delete = add_command(commands, "delete", "delete a plan without subscribers", _delete_plan)
    for each in (show, edit, delete):
        each.add_argument("plan", help="the plan's name or id")
    add_command(commands, "subscriptions", "list subscriptions", _list_subscriptions)
    subscribe = add_command(commands, "subscribe", "assign or change a plan", _subscribe)
    subscribe.add_argument("plan", help="the plan's name or id")
    add_holder(subscribe, keys=False, required=True)
    end = add_command(commands, "end", "end a subscription; its credits expire", _end)
    end.add_argument("subscription", help="the subscription's id")
    return run_command(parser.parse_args(arguments))


async def _list_plans(directory: "Directory", _: argparse.Namespace) -> Answer:
    return Answer([shown.show_plan(row) for row in await read_all(directory.plans.page)], _PLAN)


def _credits(text: str) -> float | str:
    return text if text == "unlimited" else number(text)


def _quota(text: str) -> dict[str, str | int]:
    what, _, amount = text.partition("=")
    measure, _, period = what.partition("/")
    if not (measure and period and amount):
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a limit such as tokens/minute=2000")
    return {"measure": measure, "period": period, "amount": whole(amount)}


def _body(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    values = given(options, *names, "credits", "shared")
    if values.get("credits") == "unlimited":
        values["credits"] = None
    return values if options.quota is None else {**values, "quotas": options.quota}


async def _show_plan(directory: "Directory", options: argparse.Namespace) -> Answer:
    return Answer(shown.show_plan(await find_plan(directory, options.plan)), (*_PLAN, "quotas"))


async def _create_plan(directory: "Directory", options: argparse.Namespace) -> Answer:
    values = shown.values_of_plan(read(shown.PlanBody, _body(options, "name")))
    made = await directory.plans.create(OPERATOR, options.name, values)
    return Answer(shown.show_plan(made), _PLAN)


async def _edit_plan(directory: "Directory", options: argparse.Namespace) -> Answer:
    plan = await find_plan(directory, options.plan)
    values = shown.changes_of_plan(read(shown.PlanEdit, _body(options)))
    return Answer(shown.show_plan(await directory.plans.edit(OPERATOR, plan.id, values)), _PLAN)


async def _delete_plan(directory: "Directory", options: argparse.Namespace) -> Answer:
    plan = await find_plan(directory, options.plan)
    await directory.plans.delete(OPERATOR, plan.id)
    return Answer({"id": plan.id, "deleted": True}, note=f"Deleted '{plan.name}'.")


async def _end(directory: "Directory", options: argparse.Namespace) -> Answer:
    await directory.subscriptions.end(OPERATOR, options.subscription)
    return Answer({"id": options.subscription, "deleted": True}, ("id", "deleted"))


async def _list_subscriptions(directory: "Directory", _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.subscriptions.page)
    return Answer([shown.show_subscription(row) for row in rows], _SUBSCRIPTION)


async def _subscribe(directory: "Directory", options: argparse.Namespace) -> Answer:
    whose = await holder_of(directory, options)
    kind, holder = whose["scope_kind"], whose["scope_id"]
    plan = await find_plan(directory, options.plan)
    made = await directory.subscriptions.subscribe(OPERATOR, kind, holder, plan.id)
    return Answer(shown.show_subscription(made), _SUBSCRIPTION)
