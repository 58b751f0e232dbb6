"""`toolkit doctor`: what this machine has and lacks for serving models."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from toolkit.doctor import Finding, Level, Request, examine
from toolkit.machine import LocalProbe, Probe
from toolkit.targets import FORMS, find_target

_SIGNS = {
    Level.OK: ("✓", "green"),
    Level.WARNING: ("!", "bold yellow"),
    Level.PROBLEM: ("✗", "red"),
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
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail as problems do.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check whether this machine can serve models.

    Examines processor, GPUs, memory, disks, Python, Docker and port, and says how to fix problems.

    Changes nothing. Exit status: 0 models can be served here, 1 something has to be mended first
    (with --strict also when it only could be better), 2 wrong use.

    Examples:

        toolkit doctor

        toolkit doctor --target container --json
    """
    chosen = find_target(target)
    probe: Probe = context.obj if context.obj is not None else LocalProbe()
    request = Request.here(
        target=chosen.name, address=host, port=port, repository=repository.absolute()
    )
    findings = examine(probe, request)
    fatal = {Level.PROBLEM, Level.WARNING} if strict else {Level.PROBLEM}
    failed = [finding for finding in findings if finding.level in fatal]
    if as_json:
        told = {"target": chosen.name, "ok": not failed}
        told |= {"findings": [finding.as_json() for finding in findings]}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(findings)
    count = {level: sum(each.level is level for each in findings) for level in Level}
    Console(stderr=True, highlight=False).print(
        f"for the target {chosen.name}: problems {count[Level.PROBLEM]}, "
        f"warnings {count[Level.WARNING]}, fine {count[Level.OK]}",
        soft_wrap=True,
    )
    raise typer.Exit(1 if failed else 0)


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        sign, style = _SIGNS[finding.level]
        head = Text.assemble((sign, style), f" {finding.check.ljust(width)}  {finding.text}")
        console.print(head, soft_wrap=True)
        if finding.remedy:
            indent = " " * (width + 4)
            remedy = Text.assemble(indent, ("remedy:", "bold cyan"), f" {finding.remedy}")
            console.print(remedy, soft_wrap=True)
