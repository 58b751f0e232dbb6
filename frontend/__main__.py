"""`triton-gateway`, or `python -m frontend`: `serve`, which is the default, and other commands.

Imports what the command needs, and nothing else: the server's libraries take a second, and help
needs none of them.
"""

import errno
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from frontend.process.streams import drop_output, open_closed_streams

_SERVER = {
    "serve": "start the gateway (the default command)",
    "check": "check the settings, the key file and the database, and exit",
}
_COMMANDS = {
    "audit": "verify the hash chain of admin events",
    "backends": "register, list, drain and delete upstreams",
    "backup": "back up the database to a file",
    "credits": "show and grant credits",
    "groups": "create, list, edit and delete groups",
    "key-requests": "approve and refuse requests for keys",
    "keys": "create, list, edit, rotate and revoke the keys of callers",
    "migrate": "migrate the database to the revision of this release",
    "models": "list, load and unload the models of the upstreams; canaries",
    "organisations": "create, list, rename and delete organisations",
    "plans": "create, edit and assign plans",
    "prices": "edit the price table",
    "quotas": "limit organisations, groups, users and keys",
    "restore": "restore the database from a backup",
    "roles": "create, list, edit and delete roles",
    "seed": "create a demonstration organisation",
    "users": "create, list, edit and delete users",
}
"""Each has a module in `frontend.commands`."""
_HELP = {"-h", "--help"}
_VERSION = {"-V", "--version"}
_UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 1 also if what it prints cannot be written, 130 after
    Ctrl-C."""
    open_closed_streams()
    try:
        code = _run([*(sys.argv[1:] if arguments is None else arguments)])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # all others are bugs, or were answered by the command
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        drop_output()
        if error.errno != errno.EPIPE:
            sys.stderr.write(f"error: standard output: {error.strerror}\n")
        return 1
    return code


def _run(given: list[str]) -> int:
    name = given[0] if given else "serve"
    if name in _COMMANDS:
        module = name.replace("-", "_")
        run: Callable[[list[str]], int] = import_module(f"frontend.commands.{module}").main
        return run(given[1:])
    if name == "help" and given[1:2]:  # `help keys` is `keys --help`
        return _run([given[1], "--help"])
    if name in _HELP or name == "help":
        sys.stdout.write(_help())
        return 0
    if name in _VERSION:
        from importlib.metadata import version  # noqa: PLC0415

        sys.stdout.write(f"triton-gateway {version('triton-toolkit')}\n")
        return 0
    if name not in _SERVER and not name.startswith("-"):
        return _unknown(name)
    if _HELP & {*given}:
        from frontend.commands.settings import print_help  # noqa: PLC0415

        print_help()
    import frontend.serve  # noqa: PLC0415

    return frontend.serve.main(given)


def _help() -> str:
    commands = _SERVER | _COMMANDS
    width = max(map(len, commands))
    lines = [f"  {name:<{width}}  {text}\n" for name, text in commands.items()]
    return (
        "usage: triton-gateway [COMMAND] [OPTION ...]\n\n"
        "Runs the gateway in front of Triton and manages its"
        f" accounts.\n\ncommands:\n{''.join(lines)}\n"
        "`triton-gateway COMMAND --help` lists the options of a command; the options of `serve`"
        " are the gateway's settings.\n"
        "Exit status: 0 done, 1 an error, 2 invalid input, 3 a migration is needed or the audit"
        " chain is broken, 130 Ctrl-C, 143 SIGTERM.\n"
    )


def _unknown(name: str) -> int:
    from difflib import get_close_matches  # noqa: PLC0415

    close = get_close_matches(name, [*_SERVER, *_COMMANDS], 1)
    hint = f"did you mean '{close[0]}'?" if close else "`triton-gateway --help` lists the commands"
    sys.stderr.write(f"error: '{name[:40]}' is not a command\nhint: {hint}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
