"""How a command declares its options: as the fields of a frozen dataclass, with shorthands.

A command takes one object instead of a parameter per option, and `--awq` can stand for
`--method awq`.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.machine import Machine

_Options = TypeVar("_Options")
_LAST_PORT = 65535
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def takes(
    options: type[_Options], cls: type[TyperCommand] = TyperCommand
) -> Callable[[Callable[[_Options], None]], Callable[..., None]]:
    """A decorator: the command's parameters are the fields of the dataclass `options`."""

    def decorate(run: Callable[[_Options], None]) -> Callable[..., None]:
        # Typer reads signatures only, so one with the fields is put on a function of keywords
        def command(**values: Any) -> None:
            run(options(**values))

        hints = get_type_hints(options, include_extras=True)
        parameters = [
            Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                default=Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in fields(options)  # type: ignore[arg-type]
        ]
        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = hints
        command.__name__, command.__doc__ = run.__name__, run.__doc__
        command.command_class = cls  # type: ignore[attr-defined]
        return command

    return decorate


def shorthands(option: str, values: Collection[str]) -> type[TyperCommand]:
    """A command class on whose command line `--VALUE` means `OPTION VALUE`, at most once."""

    class Shorthand(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            flags = list(dict.fromkeys(arg for arg in args if arg.removeprefix("--") in values))
            # a value may be an argument by itself, as in `toolkit convert awq`
            flags = [flag for flag in flags if flag.startswith("--")]
            given = [arg for arg in args if arg == option or arg.startswith(f"{option}=")]
            if len(flags) + len(given) > 1:
                raise UsageError(
                    f"{' and '.join(flags + given)} cannot be combined", hint=f"pass one {option}"
                )
            replaced = [[option, arg[2:]] if arg in flags else [arg] for arg in args]
            return super().parse_args(ctx, [arg for pair in replaced for arg in pair])

    return Shorthand


def check_shard_size(text: str) -> str:
    """A callback: refuses a size that the weight libraries cannot read, before any work."""
    if not re.fullmatch(r"[1-9]\d*(\.\d+)?[KMGT]B", text, re.IGNORECASE):
        raise typer.BadParameter(f"'{text}' is not a size such as 5GB or 500MB")
    return text


def check_triton(text: str | None) -> str | None:
    """A callback: refuses what is not an address of Triton's gRPC, before anything is started."""
    if text is None or text.startswith("unix:"):
        return text
    host, _, port = text.rpartition(":")
    # gRPC would look up any text as a name, and report what its resolver says
    if not re.fullmatch(r"[\w.-]+|\[[0-9a-fA-F:.%\w]+\]", host):
        raise typer.BadParameter(f"'{text}' is not HOST:PORT or unix:PATH")
    if not re.fullmatch(r"\d{1,5}", port) or not 1 <= int(port) <= _LAST_PORT:
        raise typer.BadParameter(f"'{port}' in '{text}' is not a port from 1 to {_LAST_PORT}")
    return text


def machine_of(context: typer.Context) -> "Machine":
    """The machine that a command examines: this one, or one described by a test."""
    from toolkit.machine import LocalMachine

    return LocalMachine() if context.obj is None else context.obj
