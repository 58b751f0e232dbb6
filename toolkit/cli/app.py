"""The command's root: which commands there are, options of all, and how errors are told.

Data goes to stdout and talk to stderr. A ToolkitError becomes `error: …` and `hint: …` and its exit
code; anything else is a fault of the toolkit and says so. Tracebacks only with --debug.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import toolkit
from toolkit.cli.build import build_repo
from toolkit.cli.cache import cache
from toolkit.cli.convert import convert
from toolkit.cli.doctor import doctor
from toolkit.cli.init import init, schema
from toolkit.cli.keys import keys
from toolkit.cli.models import models
from toolkit.cli.plan import plan
from toolkit.cli.prepare import prepare
from toolkit.cli.pull import pull
from toolkit.cli.quantize import quantize
from toolkit.cli.serve import serve
from toolkit.cli.verify import verify
from toolkit.errors import SpecError, ToolkitError

INTERRUPTED = 130
FAULT = 70
_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="toolkit",
    help="From models.yaml to a verified Triton model repository, served behind an OpenAI gateway.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings=_SETTINGS,
)
app.command("init")(init)
app.command("schema")(schema)
app.command("build-repo")(build_repo)
app.command("verify")(verify)
app.command("quantize")(quantize)
app.command("convert")(convert)
app.command("prepare")(prepare)
app.command("serve")(serve)
app.command("doctor")(doctor)
app.command("plan")(plan)
app.add_typer(pull, name="pull")
app.add_typer(models, name="models")
app.add_typer(keys, name="keys")
app.add_typer(cache, name="cache")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"toolkit {toolkit.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Options of all commands."""


def command() -> Any:
    """The whole command line, as `main` runs it."""
    root = typer.main.get_command(app)
    for each in _commands(root):
        for option in [*each.params, each.get_help_option(_context(each))]:
            if getattr(option, "is_flag", False):
                option.metavar = ""  # help would say that `--json` takes a <bool>
    return root


def _context(command: Any) -> typer.Context:
    return typer.Context(command, **_SETTINGS)


def _commands(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from _commands(each)


def main() -> None:
    """Runs the command line and exits with its code."""
    try:
        sys.exit(command()(prog_name="toolkit", standalone_mode=False) or 0)
    except ToolkitError as error:
        _trace()
        tell(error)
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        _tell_misuse(error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on
        sys.exit(1)
    except OSError as error:
        _trace()
        where = f"{error.filename}: " if error.filename else ""
        tell(ToolkitError(f"{where}{error.strerror or error}", hint="may it be read or written?"))
        sys.exit(1)
    except Exception as error:
        _trace()
        text = f"{type(error).__name__}: {error}"
        tell(ToolkitError(f"a fault of the toolkit: {text}", hint="toolkit --debug … shows where"))
        sys.exit(FAULT)


def _trace() -> None:
    if "--debug" in sys.argv:
        traceback.print_exc()


def _tell_misuse(error: typer.TyperException) -> None:
    """Wrong options and arguments, in the one format of errors; silent where help was shown."""
    text = error.format_message().strip().rstrip(".")
    if text:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "toolkit"
        message = ToolkitError(text[:1].lower() + text[1:], hint=f"{path} --help")
        tell(message)


def tell(error: ToolkitError) -> None:
    """Prints an error and what to do about it to stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if isinstance(error, SpecError):
        for finding in error.findings:
            _say(console, "error", str(finding))
            _say(console, "hint", finding.fix, indent="  ")
        return
    _say(console, "error", error.message)
    _say(console, "hint", error.hint)


def _say(console: Console, kind: str, text: str | None, indent: str = "") -> None:
    if text:
        style = "bold red" if kind == "error" else "bold cyan"
        console.print(Text.assemble(indent, (f"{kind}:", style), f" {text}"))
