"""`triton-gateway quotas`: manages quotas, and users' requests for larger ones."""

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.limits import Measure
from frontend.commands.accounts import (
    Answer,
    add_command,
    given,
    parser_of,
    run_command,
)
from frontend.commands.find import read_all
from frontend.commands.holders import add_holder, holder_of
from frontend.commands.parser import whole
from frontend.commands.stored_keys import duration_s
from frontend.dialects.admin import quotas as shown
from frontend.dialects.read import read
from frontend.domain.allowances import STATUSES

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_QUOTA = ("id", "scope_kind", "scope_id", "model", "measure", "period", "amount", "expires_at")
_REQUEST = ("id", "status", "user_id", "measure", "period", "amount", "reason", "expires_at")


def main(arguments: Sequence[str]) -> int:
    """Runs `quotas`; returns its exit code."""
    parser, commands = parser_of("quotas", "Limit organisations, groups, users and keys.")
    listed = add_command(commands, "list", "list quotas", _list)
    add_holder(listed, keys=True, required=False)
    create = add_command(commands, "create", "create a quota", _create)
    add_holder(create, keys=True, required=True)
    create.add_argument("amount", type=whole, help="the maximum that may be used in a period")
    create.add_argument("--measure", default="tokens", choices=[one.value for one in Measure])
    create.add_argument("--period", default="month", help="minute, day, month, 30d, … or none")
    create.add_argument("--model", help="only requests to this model")
    show = add_command(commands, "show", "show a quota", _show)
    edit = add_command(commands, "edit", "change the amount or the end of a quota", _edit)
    edit.add_argument("--amount", type=whole, help="the maximum that may be used in a period")
    for each in (create, edit):
        text = "lifetime from now on, such as 12h or 90d"
        each.add_argument("--expires-in", type=duration_s, help=text)
    reset = add_command(commands, "reset", "reset the used amount to 0", _reset)
    delete = add_command(commands, "delete", "delete a quota; usage is kept", _delete)
    for each in (show, edit, reset, delete):
        each.add_argument("quota", help="the quota's id")
    requests = add_command(
        commands, "requests", "list users' requests for higher quotas", _requests
    )
    requests.add_argument("--status", choices=STATUSES)
    approve = add_command(commands, "approve", "grant a request for a higher quota", _approve)
    approve.add_argument(
        "--amount", type=whole, help="grant this amount instead of the requested one"
    )
    approve.add_argument("--permanent", action="store_true", help="grant it without an end")
    refuse = add_command(commands, "refuse", "refuse a request for a higher quota", _refuse)
    refuse.add_argument("--note", default="", help="the reason, for the user")
    for each in (approve, refuse):
        each.add_argument("request", help="the request's id")
    return run_command(parser.parse_args(arguments))


async def _list(directory: "Directory", options: argparse.Namespace) -> Answer:
    rows = await read_all(directory.quotas.page, **await holder_of(directory, options))
    return Answer([shown.show_quota(row) for row in rows], _QUOTA)


async def _create(directory: "Directory", options: argparse.Namespace) -> Answer:
    whose = await holder_of(directory, options)
    asked = given(options, "measure", "period", "amount", "model")
    body = read(shown.QuotaBody, {**whose, **asked, **_end_of(options)})
    made = await directory.quotas.create(OPERATOR, shown.quota_of(body))
    return Answer(shown.show_quota(made), _QUOTA)


def _end_of(options: argparse.Namespace) -> dict[str, int]:
    end_s = options.expires_in
    return {} if end_s is None else {"expires_at": int(time.time()) + end_s}


async def _show(directory: "Directory", options: argparse.Namespace) -> Answer:
    return Answer(shown.show_quota(await directory.quotas.get(options.quota)), _QUOTA)


async def _edit(directory: "Directory", options: argparse.Namespace) -> Answer:
    body = read(shown.QuotaEdit, given(options, "amount") | _end_of(options))
    values = shown.changes_of_quota(body)
    edited = await directory.quotas.edit(OPERATOR, options.quota, values)
    return Answer(shown.show_quota(edited), _QUOTA)


async def _reset(directory: "Directory", options: argparse.Namespace) -> Answer:
    return Answer(shown.show_quota(await directory.quotas.reset(OPERATOR, options.quota)), _QUOTA)


async def _delete(directory: "Directory", options: argparse.Namespace) -> Answer:
    await directory.quotas.delete(OPERATOR, options.quota)
    return Answer({"id": options.quota, "deleted": True}, ("id", "deleted"))


async def _requests(directory: "Directory", options: argparse.Namespace) -> Answer:
    filters = {} if options.status is None else {"status": options.status}
    rows = await read_all(directory.quota_requests.page, **filters)
    return Answer([shown.show_quota_request(row) for row in rows], _REQUEST)


async def _approve(directory: "Directory", options: argparse.Namespace) -> Answer:
    from frontend.accounts.directory.quota_requests import AS_ASKED

    end = None if options.permanent else AS_ASKED
    amount = read(shown.ApprovalBody, given(options, "amount")).amount
    decided = await directory.quota_requests.approve(OPERATOR, options.request, amount, end)
    return Answer(shown.show_quota_request(decided), _REQUEST)


async def _refuse(directory: "Directory", options: argparse.Namespace) -> Answer:
    decided = await directory.quota_requests.refuse(OPERATOR, options.request, options.note)
    return Answer(shown.show_quota_request(decided), _REQUEST)
