"""`toolkit doctor`: what this machine has and lacks for serving models."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from toolkit.doctor import Setup, as_json, check
from toolkit.finding import Finding, Severity
from toolkit.machine import LocalProbe, Probe
from toolkit.targets import FORMS, find_target

_SIGNS = {
    Severity.OK: ("✓", "green"),
    Severity.WARNING: ("!", "bold yellow"),
    Severity.ERROR: ("✗", "red"),
}


def doctor(
    context: typer.Context,
    target: Annotated[str, typer.Option(help=f"What is to be served here: {FORMS}.")] = "embedded",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The port that the gateway is to have.")
    ] = 9000,
    host: Annotated[str, typer.Option(help="The address that it is to have.")] = "127.0.0.1",
    repository: Annotated[
        Path, typer.Option(help="Where the model repository stands, or is to stand.")
    ] = Path("model_repository"),
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
    output: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check whether this machine can serve models, and how to fix what is missing.

    Checks processor, GPUs, memory, disks, Python, Docker and the gateway's port.

    Changes nothing. Exit status: 0 models can be served, 1 there are errors (with --strict also
    warnings), 2 wrong use.

    Examples:

        toolkit doctor

        toolkit doctor --target container --json
    """
    chosen = find_target(target)
    probe: Probe = context.obj if context.obj is not None else LocalProbe()
    setup = Setup.here(
        target=chosen.name, address=host, port=port, repository=repository.absolute()
    )
    findings = check(probe, setup)
    fatal = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    failed = [finding for finding in findings if finding.severity in fatal]
    if output:
        document = {"target": chosen.name, "ok": not failed}
        document |= {"findings": [as_json(finding) for finding in findings]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _show(findings)
    count = {level: sum(each.severity is level for each in findings) for level in Severity}
    Console(stderr=True, highlight=False).print(
        f"target {chosen.name}: errors {count[Severity.ERROR]}, "
        f"warnings {count[Severity.WARNING]}, passed {count[Severity.OK]}",
        soft_wrap=True,
    )
    raise typer.Exit(1 if failed else 0)


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    width = max(len(finding.code) for finding in findings)
    for finding in findings:
        sign, style = _SIGNS[finding.severity]
        head = Text.assemble((sign, style), f" {finding.code.ljust(width)}  {finding.text}")
        console.print(head, soft_wrap=True)
        if finding.fix:
            indent = " " * (width + 4)
            fix = Text.assemble(indent, ("fix:", "bold cyan"), f" {finding.fix}")
            console.print(fix, soft_wrap=True)
