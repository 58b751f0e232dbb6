"""`toolkit verify`: is a model repository right, without starting a server?"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from toolkit.repository.verify import verify as find_faults
from toolkit.targets import TARGETS, find_target

WRONG = 1


def verify(
    repository: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="A folder of Triton models.")
    ] = Path("model_repository"),
    target: Annotated[
        str, typer.Option(help=f"The Triton that will serve it: {', '.join(TARGETS)}.")
    ] = "embedded",
    as_json: Annotated[bool, typer.Option("--json", help="Print findings as JSON.")] = False,
) -> None:
    """Check a model repository offline. Exits with 1 when anything is wrong."""
    findings = find_faults(repository, find_target(target))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    for finding in findings if not as_json else ():
        console.print(f"error: {finding}", markup=False)
        if finding.hint:
            console.print(f"  hint: {finding.hint}", markup=False)
    console.print(f"{repository}: {len(findings) or 'no'} findings", markup=False)
    if findings:
        raise typer.Exit(WRONG)
