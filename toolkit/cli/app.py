"""The root of the command line: global options, exit codes, and the handling of exceptions.

Results go to stdout, everything else to stderr. A ToolkitError is printed as `error: …` and
`hint: …` and ends with its exit code; any other exception is a bug and exits with 70. Tracebacks
are printed only with --debug.
"""

import contextlib
import os
import re
import sys
import traceback
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import toolkit
from toolkit.cli.commands import (
    COMMANDS,
    SETTINGS,
    LazyGroup,
    drop_flag_values,
    is_completing,
    keep_texts,
)
from toolkit.cli.interrupt import (
    Terminated,
    end_interrupted,
    is_import_interrupted,
    watch_interrupts,
)
from toolkit.cli.output import print_error, say
from toolkit.cli.streams import prepare_streams
from toolkit.errors import ToolkitError, UsageError

INTERRUPTED = 130
BUG = 70
_CODES = (
    "Exit status: 0 done, 1 an error, 2 wrong use, 3 a result of `quantize` that exceeds a limit, "
    "70 a bug in the toolkit, 129 the terminal was closed, 130 Ctrl-C, 143 SIGTERM. `serve` ends "
    "with 0 when it is stopped after Triton was started."
)
_BEGINNING = 4
"""Letters of an option that tell what was meant, as in --tempp."""
_LEFT = {
    "build-repo": "the repository is unchanged; the next build reuses the finished steps",
    "pull": "the same command continues the download",
    "convert": "nothing was written",
    "quantize": "nothing was written",
}
"""What is there after Ctrl-C in a command that takes long."""

app = typer.Typer(
    name="toolkit",
    cls=LazyGroup,
    help="Build, verify and serve NVIDIA Triton model repositories from one models.yaml.",
    epilog=_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings=SETTINGS,
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"toolkit {toolkit.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error.")
    ] = False,
) -> None:
    """Options of all commands."""


def command(*, load_all: bool = True) -> Any:
    """The whole command line; without `load_all`, commands are imported when they are run."""
    group: Any = typer.main.get_command(app)
    if load_all:
        for name in COMMANDS:
            group.load(name)
    drop_flag_values(group)
    if is_completing():
        keep_texts(group)
    return group


def main() -> None:
    """Runs the command line and exits with its code."""
    watch_interrupts()
    prepare_streams()
    try:
        _check_arguments(sys.argv[1:])
        code = command(load_all=False)(prog_name="toolkit", standalone_mode=False) or 0
        if code == INTERRUPTED:  # Typer's own code for Ctrl-C
            _interrupted()
        sys.exit(code)
    except ToolkitError as error:
        _fail(error, error.exit_code)
    except typer.TyperException as error:
        _fail(_misuse(error), error.exit_code)
    except (KeyboardInterrupt, Terminated, typer.Abort):
        _interrupted()
    # Python flushes stdout at exit; without a reader that would print a traceback
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone
        sys.exit(1)
    except OSError as error:
        _fail(_system_error(error), 1)
    except Exception as error:
        text = f"this is a bug in the toolkit: {type(error).__name__}: {error}"
        _fail(ToolkitError(text, hint="`toolkit --debug …` prints the traceback"), BUG)


def _check_arguments(arguments: list[str]) -> None:
    """Raises UsageError for an argument whose bytes are not UTF-8: no file or model is named so;
    and for an empty one, which would mean the current folder. An option may have an empty value."""
    for before, argument in pairwise(["", *arguments]):
        if not argument and not before.startswith("-"):
            raise UsageError(
                "an argument is empty",
                hint="check whether the command uses a shell variable without a value",
            )
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"the argument {argument!a} is not UTF-8 text",
                hint="rename the file, or set LANG to a UTF-8 locale",
            ) from error


def _system_error(error: OSError) -> ToolkitError:
    """An error of the operating system: the path, what is wrong, and what to do."""
    from toolkit.atomic import FULL

    full = error.errno in FULL
    # a copy that fills the disk has two paths, and the second is the destination
    path = error.filename2 if full and error.filename2 else error.filename
    text = f"{path}: {error.strerror or error}" if path else str(error.strerror or error)
    from toolkit.home import home

    if not full:
        hint = "check that the path exists and its permissions"
        if path and Path(os.fsdecode(path)).is_relative_to(home()):
            hint = "make the cache writable, or set TRITON_TOOLKIT_HOME to another folder"
        return ToolkitError(text, hint=hint)
    hint = "free space there"
    if path and _share_disk(Path(os.fsdecode(path)), home()):
        hint += f"; `toolkit cache prune` empties the cache, {home()}"
    return ToolkitError(text, hint=hint)


def _share_disk(one: Path, other: Path) -> bool:
    """Whether two paths, which may not exist, are on the same disk."""
    disks = {
        next(each for each in (path, *path.parents) if each.exists()).stat().st_dev
        for path in (one.absolute(), other.absolute())
    }
    return len(disks) == 1


def _interrupted() -> NoReturn:
    name = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    if name in _LEFT:
        with contextlib.suppress(OSError):  # the terminal is closed
            say(f"interrupted: {_LEFT[name]}")
    end_interrupted()


def _fail(error: ToolkitError, code: int) -> None:
    if is_import_interrupted():
        _interrupted()
    # the option may not have been parsed: the error may come from parsing
    if "--debug" in sys.argv:
        traceback.print_exc()
    if error.message:
        error.message = _printable(error.message)
        error.hint = error.hint and _printable(error.hint)
        print_error(error)
    sys.exit(code)


def _printable(text: str) -> str:
    """Line breaks and control characters of arguments as `\\n`; names of files may have them."""
    for argument in sys.argv[1:]:
        if argument and not argument.isprintable():
            shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in argument)
            text = text.replace(argument, shown)
    return text


def _command_path(arguments: list[str]) -> str:
    """The command that was called, where the parser does not say: an option without its value."""
    name = next((word for word in arguments if word in COMMANDS), "")
    return f"toolkit {name}".strip()


def _problem(details: dict[str, Any]) -> str:
    """One of pydantic's errors with the value: its own texts are about inputs of a program."""
    value, limits = f"'{details['input']}'", details.get("ctx", {})
    match details["type"]:
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"{value} is not a whole number"
        case "float_parsing" | "finite_number":
            return f"{value} is not a number"
        case "greater_than_equal":
            return f"{value} is below the minimum of {limits['ge']}"
        case "greater_than":
            return f"{value} must be greater than {limits['gt']}"
        case "less_than_equal":
            return f"{value} is above the maximum of {limits['le']}"
        case "less_than":
            return f"{value} must be less than {limits['lt']}"
    return f"{value}: {details['msg']}"


def _misuse(error: typer.TyperException) -> ToolkitError:
    """A wrong option or argument as a ToolkitError; without a message where help was printed."""
    # pydantic, which reads the options, puts the class of the error before its text
    text = error.format_message().strip().rstrip(".").replace("Value error, ", "", 1)
    text = " ".join(text.split())  # choices come one per line
    cause = error.__cause__
    if cause is not None and hasattr(cause, "errors"):
        details = cause.errors()[0]
        text = text.replace(details["msg"], _problem(details))
    text, close = _without_suggestions(text)
    context = getattr(error, "ctx", None)
    unknown = getattr(error, "option_name", "")
    if unknown.startswith("--") and context is not None and context.info_name == "run":
        close = _close_to_parameter(unknown, context.command) or close
    path = context.command_path if context is not None else _command_path(sys.argv[1:])
    return ToolkitError(text[:1].lower() + text[1:], hint=close or f"{path} --help")


def _close_to_parameter(unknown: str, command: Any) -> str:
    """`toolkit run` sets parameters with one option; other programs have an option for each."""
    from toolkit.chat.parameters import PARAMETERS
    from toolkit.names import close_matches

    known = {name: f"--set {name}=…" for name in PARAMETERS}
    known |= {flag.lstrip("-"): flag for each in command.params for flag in each.opts}
    name = unknown.lstrip("-").replace("-", "_")
    begin = [each for each in known if each.startswith(name[:_BEGINNING])]
    near = close_matches(name, begin, cutoff=0.4) or close_matches(name, known, cutoff=0.5)
    return f"did you mean {known[near[0]]}?" if near else ""


def _without_suggestions(text: str) -> tuple[str, str]:
    """Typer writes what a typo may have meant into the message; it is our hint."""
    said = re.fullmatch(r"(.+?)(?: \(Possible options: (.+)\)|\. Did you mean (.+)\?)", text)
    if said is None:
        return text, ""
    return said[1], f"did you mean {' or '.join((said[2] or said[3]).split(', '))}?"
