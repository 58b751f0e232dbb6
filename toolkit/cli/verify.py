"""`toolkit verify`: check a model repository without a server."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.complete import complete_targets
from toolkit.cli.options import Json, takes
from toolkit.cli.output import print_line, say
from toolkit.errors import RepositoryError
from toolkit.finding import Severity

if TYPE_CHECKING:
    from toolkit.verifier.finding import ModelFinding
    from toolkit.verifier.releases import Server

_USAGE = 2


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """The files that `toolkit verify` checks, and how it reports."""

    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The model repository, generated or written by hand."),
    ] = Path("model_repository")
    target: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_targets,
            help="Server to check for: embedded or container:YY.MM[-vllm|-trtllm]. Default: the "
            "target of the build; otherwise embedded, or container if a backend requires it.",
        ),
    ] = None
    gpus: Annotated[
        int | None,
        typer.Option(
            min=0, max=1024, help="Number of GPUs of the host that serves it. Default: unknown."
        ),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False
    json: Json = False
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="First apply the fixes that do not require a decision, and print the changes.",
        ),
    ] = False


@takes(VerifyOptions)
def verify(options: VerifyOptions) -> None:
    """Check a model repository without starting a server.

    Reports what Triton would refuse, fail on or get wrong, and how to fix it.

    Reads files only. Exit status: 0 nothing wrong, 1 errors (with --strict also warnings), 2 wrong
    use. Every rule is explained in docs/reference/rules.md.

    Examples:

        toolkit verify

        toolkit verify /srv/models --target container:26.08-vllm --gpus 1 --json

        toolkit verify /srv/models --fix
    """
    # here, so that help and completion do without them
    from toolkit.verifier.report import as_json, summary
    from toolkit.verifier.repository import read_models, verify_repository

    directory = options.directory
    server = _find_server(directory, options.target, options.gpus)
    findings = verify_repository(directory, server)
    names = sorted(read_models(directory, server))
    if options.fix:
        _fix(directory, findings, names)
        # again: fixes change lines, and may have solved what depended on them
        findings = verify_repository(directory, server)
    if options.json:
        typer.echo(as_json(findings, server.name))
    else:
        _show(findings)
    say(summary(findings, len(names), server.name))
    fatal = [each for each in findings if options.strict or each.severity is Severity.ERROR]
    raise typer.Exit(1 if fatal else 0)


def _find_server(directory: Path, target: str | None, gpus: int | None) -> "Server":
    """The server to check for. Raises RepositoryError, also for a folder without models."""
    from toolkit.verifier.releases import find_server
    from toolkit.verifier.repository import guess_target, read_models

    try:
        server = find_server(target or guess_target(directory), gpus)
        read_models(directory, server)
    except RepositoryError as error:
        # a folder without models is wrong use; 1 is for findings
        error.exit_code = _USAGE
        raise
    return server


def _fix(directory: Path, findings: "list[ModelFinding]", names: list[str]) -> None:
    """Applies the fixes that need no decision, and prints each change."""
    from toolkit.verifier.fix import apply_fixes, write_batch_size

    changes = apply_fixes(directory, findings)
    # a text that does not parse may hold its fields anywhere
    broken = {finding.model for finding in findings if finding.code == "syntax"}
    changes += write_batch_size(directory, [name for name in names if name not in broken])
    for change in changes:
        say(f"fixed: {change}")


def _show(findings: "list[ModelFinding]") -> None:
    from toolkit.verifier.report import lines

    for finding in findings:
        for line in lines(finding):
            print_line(*line)
        print_line()
