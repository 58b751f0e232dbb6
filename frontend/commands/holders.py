"""The options that select a user, a group, an organisation or a key."""

import argparse
from typing import TYPE_CHECKING

from frontend.commands.find import find_group, find_key, find_organisation, find_user

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory


def add_holder(parser: argparse.ArgumentParser, *, keys: bool, required: bool) -> None:
    """Adds the options; at most one of them may be given."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--user", help="a user, by name or id")
    group.add_argument("--group", help="a group, by name or id")
    group.add_argument("--organisation", help="an organisation, by name or id")
    if keys:
        group.add_argument("--key", help="a key, by its public id")


async def holder_of(directory: "Directory", options: argparse.Namespace) -> dict[str, str]:
    """Kind and id of the selected holder."""
    if options.user is not None:
        return {"scope_kind": "user", "scope_id": (await find_user(directory, options.user)).id}
    if options.group is not None:
        return {"scope_kind": "group", "scope_id": (await find_group(directory, options.group)).id}
    if options.organisation is not None:
        found = await find_organisation(directory, options.organisation)
        return {"scope_kind": "organisation", "scope_id": found.id}
    if getattr(options, "key", None) is not None:
        return {"scope_kind": "key", "scope_id": (await find_key(directory, options.key)).id}
    return {}
