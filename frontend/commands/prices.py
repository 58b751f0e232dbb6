"""`triton-gateway prices`: what requests cost."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.accounts import (
    Answer,
    add_command,
    parser_of,
    read_all,
    run_command,
)
from frontend.dialects.admin import allowances as shown
from frontend.errors import InvalidRequest

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

_PRICES = ("prompt", "cached", "completion", "image", "request", "credits")
_PRICE = ("id", "model", "upstream", "starts_at", *_PRICES)


def main(arguments: Sequence[str]) -> int:
    """Runs `prices`; returns its exit code."""
    parser, commands = parser_of("prices", "Edit the price table.")
    add_command(commands, "list", "list prices", _list_prices)
    create = add_command(commands, "create", "set the prices of a model from now on", _add_price)
    create.add_argument("model", help="the model, or '*' for all")
    create.add_argument(
        "--upstream", default="*", help="only for requests that this upstream serves"
    )
    for name in _PRICES:
        default = 1.0 if name == "credits" else 0.0
        create.add_argument(f"--{name}", type=float, default=default, help=f"default: {default:g}")
    delete = add_command(commands, "delete", "delete prices; past charges are kept", _delete_price)
    delete.add_argument("price", help="the id of the price")
    return run_command(parser.parse_args(arguments))


async def _list_prices(directory: "Directory", _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.prices.page)
    return Answer([shown.show_price(row) for row in rows], _PRICE)


async def _add_price(directory: "Directory", options: argparse.Namespace) -> Answer:
    values: dict[str, Any] = {f"{n}_micro": shown.micro(getattr(options, n)) for n in _PRICES}
    if min(values.values()) < 0:
        raise InvalidRequest("a price cannot be negative")
    values["upstream"] = options.upstream
    made = await directory.prices.create(OPERATOR, options.model, values)
    return Answer(shown.show_price(made), _PRICE)


async def _delete_price(directory: "Directory", options: argparse.Namespace) -> Answer:
    await directory.prices.delete(OPERATOR, options.price)
    return Answer({"id": options.price, "deleted": True}, ("id", "deleted"))
