"""`toolkit build-repo`: models.yaml → a model repository."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.complete import complete_targets
from toolkit.cli.options import Json, takes
from toolkit.cli.output import print_json, say
from toolkit.cli.progress import console_progress
from toolkit.errors import UsageError
from toolkit.targets import FORMS

if TYPE_CHECKING:
    from toolkit.building import Built


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit build-repo`."""

    models: Annotated[Path, typer.Argument(help="The models.yaml.")] = Path("models.yaml")
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Directory of the repository. An existing repository is replaced.",
        ),
    ] = Path("model_repository")
    target: Annotated[
        str, typer.Option(help=f"Server to build for: {FORMS}.", autocompletion=complete_targets)
    ] = "embedded"
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what a build would download, convert and change, and its errors; change "
            "nothing.",
        ),
    ] = False
    offline: Annotated[
        bool,
        typer.Option("--offline", help="With --dry-run: do not request the sizes of downloads."),
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
    # imported here: `--help` and completion read this module without pydantic (0.2 s)
    from toolkit.building import build, load_for_build
    from toolkit.targets import find_target

    if options.offline and not options.dry_run:
        raise UsageError(
            "--offline requires --dry-run", hint="to download before a build, run toolkit pull"
        )
    # before the file is read, whose errors depend on it
    target = find_target(options.target)
    spec = load_for_build(options.models, target)
    if options.dry_run:
        from toolkit.building.preview import preview
        from toolkit.cli.preview import show

        with console_progress() as progress, progress.step("plan"):
            planned = preview(spec, target, options.output, offline=options.offline)
        show(planned, options.as_json)
        return
    from toolkit.quantize.report import read_report, summary_line

    started = time.monotonic()
    with console_progress() as progress:
        built = build(spec, target, options.output, progress)
    if options.as_json:
        print_json(_summary(built))
    for name, prepared in built.prepared.items():
        if (report := read_report(prepared.folder)) is not None:
            say(f"{name}: {summary_line(report)}; {prepared.folder}/quality/report.md")
    names = ", ".join(model.name for model in built.plan.models)
    seconds = time.monotonic() - started
    say(f"{options.output}: {names}; built for {target.name} in {seconds:.1f} s")


def _summary(built: "Built") -> dict[str, object]:
    return built.plan.summary() | {
        "output": str(built.output),
        "weights": {
            name: {"digest": prepared.digest, "facts": prepared.facts.model_dump()}
            | _quality(prepared.folder)
            for name, prepared in built.prepared.items()
        },
    }


def _quality(folder: Path) -> dict[str, object]:
    """The report of quantized weights, if they are."""
    from toolkit.quantize.report import read_report

    report = read_report(folder)
    return {} if report is None else {"quality": report, "report": f"{folder}/quality/report.md"}
