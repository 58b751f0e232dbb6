"""`triton-gateway backends`: upstreams that running gateways take up within a second."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.accounts import Answer, add_command, parser_of, run_command
from frontend.dialects.admin.backends import (
    BackendBody,
    BackendEdit,
    changes_of,
    columns_of,
    show_backend,
)
from frontend.dialects.read import read

if TYPE_CHECKING:
    from frontend.accounts.directory.backends import Backends
    from frontend.accounts.directory.directory import Directory

_COLUMNS = ("id", "name", "url", "engine", "max_concurrent", "enabled", "draining")
_FIELDS = (
    "name", "url", "engine", "max_concurrent", "max_num_seqs", "gpu_memory_gb", "priority",
    "external", "groups", "labels", "api_key_env", "api_key_file",
)  # fmt: skip
_EDITS = (
    "max_concurrent", "max_num_seqs", "gpu_memory_gb", "priority", "external", "enabled", "groups",
    "labels",
    "api_key_env", "api_key_file", "revision",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Runs `triton-gateway backends`; returns its exit code."""
    parser, commands = parser_of("backends", "Register, list, drain and delete upstreams.")
    add_command(commands, "list", "list the registered upstreams", _list)
    _add_new(add_command(commands, "register", "register an upstream", _register))
    change = add_command(commands, "set", "change a registered upstream", _set, edits=True)
    _add_changes(change)
    texts = {
        "enable": "send it requests again",
        "disable": "send it no new requests and hide its models",
        "drain": "send it no new requests",
        "refresh": "resolve its name, read its key and connect again",
        "delete": "drain it, then delete it",
    }
    for name, text in texts.items():
        command = add_command(commands, name, text, _change)
        command.add_argument("backend", help="its name or id")
        command.set_defaults(action=name)
        if name == "delete":
            waits = "seconds to wait for its requests (default: 0)"
            command.add_argument("--wait-s", type=_seconds, default=0.0, help=waits)
    return run_command(parser.parse_args(arguments))


def _add_new(register: argparse.ArgumentParser) -> None:
    register.add_argument("name", help="its name in metrics, prices and logs")
    register.add_argument(
        "url", help="HOST:PORT of Triton's gRPC, or the http: or https: URL of another server"
    )
    register.add_argument("--engine", default="triton", help="its engine (default: triton)")
    register.add_argument(
        "--max-concurrent", type=int, help="maximum number of concurrent requests"
    )
    register.add_argument(
        "--max-num-seqs", type=int, help="the engine's own limit of concurrent requests"
    )
    register.add_argument("--gpu-memory-gb", type=float, help="memory of its GPUs in GiB")
    register.add_argument(
        "--priority",
        type=int,
        default=0,
        help="preference over other upstreams: each unit adds 10 points to its score",
    )
    register.add_argument(
        "--external", action="store_true", help="prompts sent to it leave the site"
    )
    register.add_argument(
        "--group", dest="groups", action="append", help="id of a group that may use it; repeatable"
    )
    _add_labels(register)
    register.add_argument("--api-key-env", help="environment variable with its key: NAME_API_KEY")
    register.add_argument("--api-key-file", help="file with its key, in the folder 'backend_keys'")


def _add_changes(change: argparse.ArgumentParser) -> None:
    change.add_argument("backend", help="its name or id")
    change.add_argument(
        "--max-concurrent", type=_count, help="maximum number of concurrent requests, or 'none'"
    )
    change.add_argument("--max-num-seqs", type=_count, help="the engine's own limit, or 'none'")
    change.add_argument("--gpu-memory-gb", type=float, help="memory of its GPUs in GiB")
    change.add_argument(
        "--priority",
        type=int,
        help="preference over other upstreams: each unit adds 10 points to its score",
    )
    flags = argparse.BooleanOptionalAction
    change.add_argument(
        "--external", action=flags, help="whether prompts sent to it leave the site"
    )
    change.add_argument("--enabled", action=flags, help="whether it gets requests")
    change.add_argument(
        "--group", dest="groups", action="append", help="id of a group that may use it; repeatable"
    )
    _add_labels(change)
    change.add_argument("--api-key-env", help="environment variable with its key: NAME_API_KEY")
    change.add_argument("--api-key-file", help="file with its key, in the folder 'backend_keys'")
    change.add_argument("--revision", help="change nothing unless this is its revision")


def _add_labels(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--label", dest="labels", action=_Label, metavar="NAME=VALUE",
        help="a label, such as region=eu; repeatable",
    )  # fmt: skip


class _Label(argparse.Action):
    """Collects labels by their names."""

    def __call__(self, _: Any, namespace: Any, values: Any, __: Any = None) -> None:
        name, _, value = values.partition("=")
        given = getattr(namespace, self.dest) or {}
        setattr(namespace, self.dest, {**given, name: value})


def _count(text: str) -> int | str:
    return "none" if text == "none" else int(text)


def _seconds(text: str) -> float:
    from frontend.accounts.directory.backends import MAX_WAIT_S

    if not text.isdigit() or int(text[:9]) > MAX_WAIT_S:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a whole number of at most 300")
    return float(text)


def _backends(directory: "Directory") -> "Backends":
    from frontend.accounts.directory.backends import Backends
    from frontend.reach import Reach
    from frontend.settings import BackendSettings

    settings = BackendSettings()
    named = [one.name for one in settings.entries]
    return Backends(directory.groups.changes, Reach(settings.reachable).addresses, named)


async def _list(directory: "Directory", _: argparse.Namespace) -> Answer:
    return Answer([show_backend(one) for one in await _backends(directory).all()], _COLUMNS)


async def _register(directory: "Directory", options: argparse.Namespace) -> Answer:
    from frontend.accounts.directory.backends import NewBackend

    given = {name: value for name in _FIELDS if (value := getattr(options, name)) is not None}
    # the same declaration as the API's, with its bounds and messages
    body = read(BackendBody, given)
    made = await _backends(directory).register(OPERATOR, NewBackend(**columns_of(body)))
    return Answer(show_backend(made), _COLUMNS)


async def _set(directory: "Directory", options: argparse.Namespace) -> Answer:
    given = {name: value for name in _EDITS if (value := getattr(options, name)) is not None}
    given = {name: None if value == "none" else value for name, value in given.items()}
    values, revision = changes_of(read(BackendEdit, given))
    edited = await _backends(directory).edit(OPERATOR, options.backend, values, revision)
    return Answer(show_backend(edited), _COLUMNS)


async def _change(directory: "Directory", options: argparse.Namespace) -> Answer:
    backends = _backends(directory)
    if options.action == "delete":
        gone = await backends.delete(OPERATOR, options.backend, options.wait_s)
        deleted: dict[str, Any] = {"id": gone.id, "deleted": True}
        return Answer(deleted, note=f"Deleted '{gone.name}'.")
    changed = await getattr(backends, options.action)(OPERATOR, options.backend)
    return Answer(show_backend(changed), _COLUMNS)
