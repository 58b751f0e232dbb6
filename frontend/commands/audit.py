"""`triton-gateway audit verify`: checks the chain of admin events, also while gateways run."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from frontend.commands.database import DatabaseError, add_options, location_of, run
from frontend.commands.parser import Parser

if TYPE_CHECKING:
    from frontend.store.chain import Break, Head, Verification
    from frontend.store.database import Database

BROKEN = 3
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 0, 1 when the database cannot be read, 2 for
    invalid arguments, 3 for a chain that is broken."""
    parser = Parser(prog="triton-gateway audit", description="Check the audit.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "verify the hash chain of admin events"
    command = commands.add_parser(
        "verify",
        help=text,
        description=f"{text.capitalize()}, and report the first broken link. Exit codes: 0: the"
        " chain"
        " is intact; 1: the database cannot be read; 2: invalid arguments; 3: the chain is broken.",
    )
    command.add_argument(
        "--head",
        type=_head,
        metavar="NUMBER:DIGEST",
        help="a head that was printed earlier and kept elsewhere; it must be part of the chain",
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    add_options(command)
    options = parser.parse_args(arguments)
    try:
        location = location_of(options)
        if location.is_sqlite and not location.file.exists():
            raise DatabaseError(f"{location} does not exist")
    except DatabaseError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2

    async def work(database: "Database") -> int:
        from frontend.store.chain import verify

        result = await verify(database, options.head)
        sys.stdout.write((_json if options.json else _text)(result) + "\n")
        return 0 if result.broken is None else BROKEN

    return run(location, work, any_revision=False)


def _head(text: str) -> "Head":
    if (match := _HEAD.fullmatch(text)) is None:
        raise argparse.ArgumentTypeError(f"'{text[:80]}' is not NUMBER:DIGEST, as verify prints it")
    from frontend.store.chain import Head

    return Head(int(match[1]), bytes.fromhex(match[2]))


def _json(result: "Verification") -> str:
    broken = None if result.broken is None else asdict(result.broken)
    shown = {"whole": broken is None, "events": result.events, "head": str(result.head)}
    return json.dumps({**shown, "broken": broken})


def _text(result: "Verification") -> str:
    if (broken := result.broken) is None:
        return f"The chain is intact: {result.events} events, head {result.head}"
    return f"The chain is broken at event {_named(broken)}: {broken.reason}"


def _named(broken: "Break") -> str:
    if broken.event_id is None or broken.at_us is None:
        return str(broken.number)
    at = datetime.fromtimestamp(broken.at_us // 1_000_000, UTC).isoformat()
    return f"{broken.number} ({broken.event_id}, {at})"
