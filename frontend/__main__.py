"""`triton-gateway`, or `python -m frontend`: `serve`, which is the default, and other commands.

Imports what the command needs, and nothing else: the server's libraries take a second.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

_COMMANDS = {
    "audit",
    "backends",
    "backup",
    "credits",
    "groups",
    "key-requests",
    "keys",
    "migrate",
    "models",
    "organisations",
    "plans",
    "prices",
    "quotas",
    "restore",
    "roles",
    "seed",
    "users",
}
"""Each has a module in `frontend.commands`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    if given and given[0] in _COMMANDS:
        module = given[0].replace("-", "_")
        run: Callable[[list[str]], int] = import_module(f"frontend.commands.{module}").main
        return run(given[1:])
    import frontend.serve  # noqa: PLC0415

    return frontend.serve.main(given)


if __name__ == "__main__":
    sys.exit(main())
