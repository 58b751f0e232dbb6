"""`toolkit build-repo`: models.yaml → a model repository."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from toolkit import kinds
from toolkit.building import Built, build
from toolkit.cli.progress import console_progress
from toolkit.repository.plan import Plan, make_plan
from toolkit.spec import SourcedEntry, load
from toolkit.targets import FORMS, find_target


def build_repo(
    models: Annotated[Path, typer.Argument(help="What to serve.")] = Path("models.yaml"),
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The repository; replaced as a whole.")
    ] = Path("model_repository"),
    target: Annotated[str, typer.Option(help=f"What will serve it: {FORMS}.")] = "embedded",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; fetch and write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan, or what was built, as JSON.")
    ] = False,
) -> None:
    """Build a Triton model repository from models.yaml.

    Downloads the weights, converts them, writes the configs and verifies the result.

    Weights are kept in the toolkit's home by content, so a second build is quick. A failed build
    leaves the repository that is there untouched.

    Examples:

        toolkit build-repo --dry-run

        toolkit build-repo models.yaml --target container:26.08-vllm --output models
    """
    spec = load(models)
    chosen = find_target(target)
    if dry_run:
        _print_plan(make_plan(spec.for_target(chosen), chosen, spec.file), output, as_json)
        return
    console = Console(file=sys.stderr)  # this very stream: conversions redirect sys.stderr
    started = time.monotonic()
    with console_progress(console) as progress:
        built = build(spec, chosen, output, progress)
    if as_json:
        typer.echo(json.dumps(_summary(built), indent=2, ensure_ascii=False))
    names = ", ".join(model.name for model in built.plan.models)
    console.print(
        f"{output}: {names}; built for {chosen.name} in {time.monotonic() - started:.1f} s",
        highlight=False,
        soft_wrap=True,
    )


def _print_plan(plan: Plan, output: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(plan.summary(), indent=2, ensure_ascii=False))
        return
    typer.echo(f"{output}: {len(plan.models)} models for {plan.target.name} (nothing written)")
    for model in plan.models:
        steps = " → ".join(step.name for step in kinds.of(model.entry).steps)
        typer.echo(f"\n{model.name}: {model.entry.kind}" + (f", {steps}" if steps else ""))
        if isinstance(model.entry, SourcedEntry):
            typer.echo(f"  from {model.entry.origin}")
        else:
            typer.echo(f"  of {' → '.join(kinds.of(model.entry).parts_of(model.entry))}")
        for adapter in model.public[1:]:
            typer.echo(f"  with the adapter {adapter}")
        for file in model.files:
            typer.echo(f"  {file}")


def _summary(built: Built) -> dict[str, object]:
    return built.plan.summary() | {
        "output": str(built.output),
        "weights": {
            name: {"digest": prepared.digest, "facts": prepared.facts.model_dump()}
            for name, prepared in built.prepared.items()
        },
    }
