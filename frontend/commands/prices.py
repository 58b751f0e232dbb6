"""`triton-gateway prices`: manages the price table."""

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
from frontend.commands.find import (
    read_all,
)
from frontend.commands.parser import number
from frontend.dialects.admin import plans as shown
from frontend.dialects.read import read

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
        create.add_argument(f"--{name}", type=number, default=default, help=f"default: {default:g}")
    delete = add_command(commands, "delete", "delete prices; past charges are kept", _delete_price)
    delete.add_argument("price", help="the id of the price")
    return run_command(parser.parse_args(arguments))


async def _list_prices(directory: "Directory", _: argparse.Namespace) -> Answer:
    rows = await read_all(directory.prices.page)
    return Answer([shown.show_price(row) for row in rows], _PRICE)


async def _add_price(directory: "Directory", options: argparse.Namespace) -> Answer:
    body = read(shown.PriceBody, given(options, "model", "upstream", *_PRICES))
    made = await directory.prices.create(OPERATOR, body.model, shown.columns_of_price(body))
    return Answer(shown.show_price(made), _PRICE)


async def _delete_price(directory: "Directory", options: argparse.Namespace) -> Answer:
    await directory.prices.delete(OPERATOR, options.price)
    return Answer({"id": options.price, "deleted": True}, ("id", "deleted"))
