"""`toolkit doctor`: what this machine has and lacks for serving models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.complete import complete_targets
from toolkit.cli.options import machine_of, takes
from toolkit.cli.output import print_json, print_line, say
from toolkit.finding import Finding, Severity
from toolkit.targets import FORMS

_SIGNS = {
    Severity.OK: ("✓", "good"),
    Severity.WARNING: ("!", "warning"),
    Severity.ERROR: ("✗", "error"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit doctor`."""

    # `obj` is a described machine in tests (options.machine_of)
    context: typer.Context
    target: Annotated[
        str, typer.Option(help=f"Target to check for: {FORMS}.", autocompletion=complete_targets)
    ] = "embedded"
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway.")] = 9000
    host: Annotated[str, typer.Option(help="Address of the gateway.")] = "127.0.0.1"
    repository: Annotated[
        Path, typer.Option(help="Folder of the model repository, which need not exist yet.")
    ] = Path("model_repository")
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False


@takes(Options)
def doctor(options: Options) -> None:
    """Check whether this machine can serve models.

    Checks processor, GPUs, memory, disks, Python, Docker and the gateway's port, and says how to
    fix what is missing. Changes nothing. Exit status: 0 models can be served, 1 there are errors
    (with --strict also warnings), 2 wrong use.

    Examples:

        toolkit doctor

        toolkit doctor --target container --json
    """
    from toolkit.doctor import Setup, as_json, check
    from toolkit.targets import find_target

    target = find_target(options.target)
    setup = Setup.here(
        target=target.name,
        address=options.host,
        port=options.port,
        repository=options.repository.absolute(),
    )
    findings = check(machine_of(options.context), setup)
    fatal = {Severity.ERROR, Severity.WARNING} if options.strict else {Severity.ERROR}
    failed = any(finding.severity in fatal for finding in findings)
    if options.as_json:
        document = {"target": target.name, "ok": not failed}
        print_json(document | {"findings": [as_json(finding) for finding in findings]})
    else:
        _show(findings)
    count = {level: sum(each.severity is level for each in findings) for level in Severity}
    say(
        f"target {target.name}: errors {count[Severity.ERROR]}, "
        f"warnings {count[Severity.WARNING]}, passed {count[Severity.OK]}"
    )
    raise typer.Exit(1 if failed else 0)


def _show(findings: list[Finding]) -> None:
    width = max(len(finding.code) for finding in findings)
    for finding in findings:
        print_line(_SIGNS[finding.severity], f" {finding.code.ljust(width)}  {finding.text}")
        if finding.fix:
            print_line(" " * (width + 4), ("fix:", "hint"), f" {finding.fix}")
