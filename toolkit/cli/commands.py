"""The table of commands, and a Typer group that imports a command's module when it is run.

A listing (`toolkit --help`, completion of names) reads only the table, and `toolkit verify` imports
only its own module. A test compares the sentences here with the commands' own help texts.
"""

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from toolkit.errors import UsageError

COMPLETE = "_TOOLKIT_COMPLETE"
"""Environment variable that a shell's completion script sets."""
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is defined, the sentence that lists it, and the panel it is listed in."""

    module: str
    help: str
    panel: str


_BUILD, _WEIGHTS, _SERVE = "Build", "Weights", "Serve"
COMMANDS: dict[str, Lazy] = {
    "init": Lazy("init", "Write a commented models.yaml to start from.", _BUILD),
    "build-repo": Lazy("build", "Build a Triton model repository from models.yaml.", _BUILD),
    "verify": Lazy("verify", "Check a model repository without starting a server.", _BUILD),
    "schema": Lazy("init", "Print the JSON Schema of models.yaml.", _BUILD),
    "list-available": Lazy("available", "List models that can be run by name.", _WEIGHTS),
    "pull": Lazy("pull", "Download model weights into the cache.", _WEIGHTS),
    "convert": Lazy("convert", "Convert weights to another format.", _WEIGHTS),
    "quantize": Lazy("quantize", "Quantize a model and measure the loss of quality.", _WEIGHTS),
    "cache": Lazy("cache", "List or delete cached downloads, weights and environments.", _WEIGHTS),
    "doctor": Lazy("doctor", "Check whether this machine can serve models.", _SERVE),
    "fit": Lazy("fit", "Estimate whether the models fit on this or other hardware.", _SERVE),
    "run": Lazy("run", "Chat with a model, or ask it one question.", _SERVE),
    "prepare": Lazy("prepare", "Install Triton and the Python environments of its models.", _SERVE),
    "serve": Lazy("serve", "Serve a model repository with Triton and the gateway.", _SERVE),
    "ps": Lazy("ps", "List your running services and their models.", _SERVE),
    "logs": Lazy(
        "logs",
        "Print the logs of a service: its own, the gateway's, Triton's and each model's, by time.",
        _SERVE,
    ),
    "stop": Lazy(
        "stop", "Stop a running service after its running requests have finished.", _SERVE
    ),
    "completion": Lazy("completion", "Print the completion script of a shell.", "Shell"),
    "models": Lazy("models", "List, load, unload and test the models of a running Triton.", _SERVE),
}
RENAMED = {
    "keys": "use triton-gateway keys add|list|remove",
    "plan": "use `toolkit fit`",
}
"""Former names, and what to type instead."""


class LazyGroup(TyperGroup):
    """The root group: it knows all names, and imports a command once that command is run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # rows without functions: `--help` needs names and sentences only
        self.commands = {
            name: TyperCommand(name, help=each.help, rich_help_panel=each.panel)
            for name, each in COMMANDS.items()
        }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:  # `toolkit help serve` is `toolkit serve --help`
            args = [*args[1:], "--help"]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in RENAMED:
            raise UsageError(f"there is no command '{args[0]}'", hint=RENAMED[args[0]])
        if args[0] in COMMANDS:
            self.load(args[0])
        return super().resolve_command(ctx, args)

    def load(self, name: str) -> None:
        """Replaces the row that stands for the command `name` by the command itself."""
        self.commands[name] = load_command(name)


def load_command(name: str) -> Any:
    """Imports one command. Flags get no value in its help, which would read `--json <bool>`."""
    each = COMMANDS[name]
    module = import_module(f"toolkit.cli.{each.module}")
    target = getattr(module, name.replace("-", "_"))
    if not isinstance(target, typer.Typer):
        # Typer makes a command of a function only within an app
        function, target = target, typer.Typer(add_completion=False, rich_markup_mode="markdown")
        cls = getattr(function, "command_class", TyperCommand)
        target.command(name, cls=cls, context_settings=SETTINGS)(function)
    else:
        target.info.context_settings = SETTINGS
        target.rich_markup_mode, target._add_completion = "markdown", False
    command = typer.main.get_command(target)
    # Typer would name it after the function
    command.name = name
    drop_flag_values(command)
    if is_completing():
        keep_texts(command)
    return command


def is_completing() -> bool:
    """Whether a shell asks what may follow on a command line."""
    return COMPLETE in os.environ


def keep_texts(command: Any) -> None:
    """Leaves the values of options as texts. Completion does not need their values, and typer would
    import pydantic to convert them (0.07 s of CPU)."""
    for parameter in (*command.params, command.get_help_option(typer.Context(command, **SETTINGS))):
        parameter.process_value = lambda _context, value: value
    for each in getattr(command, "commands", {}).values():
        keep_texts(each)


def drop_flag_values(command: Any) -> None:
    """Shows flags without a value in the help of `command` and its sub-commands."""
    context = typer.Context(command, **SETTINGS)
    for option in [*command.params, command.get_help_option(context)]:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for each in getattr(command, "commands", {}).values():
        drop_flag_values(each)
