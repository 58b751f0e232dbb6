"""The command's root: which commands there are, options of all, and how errors are told.

Data goes to stdout and talk to stderr. A ToolkitError becomes `error: …` and `hint: …` and its exit
code; anything else is a fault of the toolkit and says so. Tracebacks only with --debug.
"""

import sys
import traceback
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

import toolkit
from toolkit.cli.build import build_repo
from toolkit.cli.cache import cache
from toolkit.cli.convert import convert
from toolkit.cli.doctor import doctor
from toolkit.cli.init import init, schema
from toolkit.cli.models import models
from toolkit.cli.plan import plan
from toolkit.cli.prepare import prepare
from toolkit.cli.pull import pull
from toolkit.cli.quantize import quantize
from toolkit.cli.serve import serve
from toolkit.cli.verify import verify
from toolkit.errors import SpecError, ToolkitError

INTERRUPTED = 130

app = typer.Typer(
    name="toolkit",
    help="From models.yaml to a verified Triton model repository, served behind an OpenAI gateway.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
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


def main() -> None:
    """Runs the command line and exits with its code."""
    debug = "--debug" in sys.argv
    try:
        app()
    except ToolkitError as error:
        if debug:
            traceback.print_exc()
        tell(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def tell(error: ToolkitError) -> None:
    """Prints an error and what to do about it to stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if isinstance(error, SpecError):
        for finding in error.findings:
            _say(console, "error", str(finding))
            _say(console, "hint", finding.hint, indent="  ")
        return
    _say(console, "error", error.message)
    _say(console, "hint", error.hint)


def _say(console: Console, kind: str, text: str | None, indent: str = "") -> None:
    if text:
        style = "bold red" if kind == "error" else "bold cyan"
        console.print(Text.assemble(indent, (f"{kind}:", style), f" {text}"))
