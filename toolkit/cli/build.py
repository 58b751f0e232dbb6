"""`toolkit build-repo`: models.yaml → a model repository."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import Json, takes
from toolkit.cli.output import print_json, print_line, say
from toolkit.cli.progress import console_progress
from toolkit.targets import FORMS

if TYPE_CHECKING:
    from toolkit.building import Built
    from toolkit.repository.plan import Plan


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit build-repo`."""

    models: Annotated[Path, typer.Argument(help="The models.yaml.")] = Path("models.yaml")
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Directory of the repository; replaced if it exists."),
    ] = Path("model_repository")
    target: Annotated[str, typer.Option(help=f"What will serve it: {FORMS}.")] = "embedded"
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the files that a build would write; change nothing.",
        ),
    ] = False
    as_json: Json = False


@takes(Options)
def build_repo(options: Options) -> None:
    """Build a Triton model repository from models.yaml.

    Downloads the weights, converts them, writes the configs and verifies the result. Converted
    weights are cached, so a second build is fast. If the build fails, an existing repository stays
    as it is.

    Examples:

        toolkit build-repo --dry-run

        toolkit build-repo models.yaml --target container:26.08-vllm --output gpu_repository
    """
    from toolkit.spec import load
    from toolkit.targets import find_target

    target = find_target(options.target)
    spec = load(options.models, target)
    if options.dry_run:
        from toolkit.repository.plan import make_plan

        plan = make_plan(spec.for_target(target), target, spec.file)
        _print_plan(plan, options.output, options.as_json)
        return
    from toolkit.building import build

    started = time.monotonic()
    with console_progress() as progress:
        built = build(spec, target, options.output, progress)
    if options.as_json:
        print_json(_summary(built))
    names = ", ".join(model.name for model in built.plan.models)
    seconds = time.monotonic() - started
    say(f"{options.output}: {names}; built for {target.name} in {seconds:.1f} s")


def _print_plan(plan: "Plan", output: Path, as_json: bool) -> None:
    from toolkit import kinds
    from toolkit.spec import SourcedEntry

    if as_json:
        print_json(plan.summary())
        return
    print_line(f"{output}: {len(plan.models)} models for {plan.target.name} (nothing written)")
    for model in plan.models:
        steps = " → ".join(step.name for step in kinds.of(model.entry).steps)
        print_line(f"\n{model.name}: {model.entry.kind}" + (f", {steps}" if steps else ""))
        if isinstance(model.entry, SourcedEntry):
            print_line(f"  from {model.entry.origin}")
        else:
            print_line(f"  of {' → '.join(kinds.of(model.entry).parts_of(model.entry))}")
        for adapter in model.public[1:]:
            print_line(f"  with the adapter {adapter}")
        for file in model.files:
            print_line(f"  {file}")


def _summary(built: "Built") -> dict[str, object]:
    return built.plan.summary() | {
        "output": str(built.output),
        "weights": {
            name: {"digest": prepared.digest, "facts": prepared.facts.model_dump()}
            for name, prepared in built.prepared.items()
        },
    }
