"""`toolkit fit`: an estimate of what the models need, before anything starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.complete import complete_targets
from toolkit.cli.options import Json, machine_of, takes
from toolkit.cli.output import print_json, print_line, print_table
from toolkit.cli.progress import console_progress
from toolkit.cli.sizes import size
from toolkit.targets import FORMS

if TYPE_CHECKING:
    from toolkit.finding import Finding
    from toolkit.fit import Fit, Question
    from toolkit.fit.result import ModelFit


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit fit`."""

    context: typer.Context
    models: Annotated[Path, typer.Argument(help="The models.yaml.")] = Path("models.yaml")
    gpus: Annotated[
        str | None,
        typer.Option(
            help="GPUs to check for, instead of those of this machine: NAME:COUNT or SIZE:COUNT, "
            "separated by commas, such as h100:2 or l4:1,24GiB:2; `none` for no GPU."
        ),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Requests of full context length that each language model handles at a time. "
            "Default: the engine's max_num_seqs, else 16.",
        ),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(
            help=f"Server to check for: {FORMS}. Default: embedded; container with --gpus.",
            autocompletion=complete_targets,
        ),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            help="Host memory, such as 64GiB. Default: the available memory of this machine."
        ),
    ] = None
    processors: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processors. Default: those of this machine."),
    ] = None
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="Do not download anything; fail if weights are not in the cache."
        ),
    ] = False
    as_json: Json = False


@takes(Options)
def fit(options: Options) -> None:
    """Estimate whether the models fit on this or other hardware.

    Covers weights, KV cache, memory, threads and GPUs, and suggests what would fit. Reads
    config.json and the headers of weight files; starts nothing. Estimates are within 15 % of what
    the running engines report. Exit status: 0 everything fits, 1 something does not, 2 wrong use.

    Examples:

        toolkit fit

        toolkit fit --gpus h100:2 --concurrency 32

        toolkit fit big.yaml --gpus 24GiB:4 --memory 128GiB --json
    """
    from toolkit.fit import fit_models
    from toolkit.fit.report import as_json

    question = _question(options)
    with console_progress() as progress:
        result = fit_models(question, progress)
    if options.as_json:
        print_json(as_json(result))
    else:
        _show(result)
    raise typer.Exit(0 if result.fits else 1)


def _question(options: Options) -> "Question":
    from toolkit.fit import Question, devices_of, parse_gpus, parse_size
    from toolkit.fit.models import SHARED_MEMORY
    from toolkit.machine import cores, list_gpus, memory_bytes
    from toolkit.spec import load
    from toolkit.targets import find_target

    described = parse_gpus(options.gpus) if options.gpus is not None else None
    # `--gpus` describes another machine, which a container serves
    target = find_target(options.target or ("container" if described else "embedded"))
    spec = load(options.models, target)
    machine = machine_of(options.context)
    memory = options.memory
    disk = machine.disk(SHARED_MEMORY) if memory is None else None
    # the first processor's; all of a machine are alike
    flags = (machine.read("/proc/cpuinfo") or "").partition("flags")[2].partition("\n")[0].split()
    return Question(
        spec=spec,
        target=target,
        # `none` describes no GPUs, which is not the same as saying nothing
        devices=devices_of(list_gpus(machine)) if described is None else described,
        host_bytes=parse_size(memory) if memory else memory_bytes(machine).available_bytes,
        cores=options.processors or cores(machine),
        avx512="avx512f" in flags,
        # half of the memory is Linux's default for a tmpfs; --memory describes another host
        shm_bytes=disk[1] if disk else parse_size(memory or "0.001GiB") // 2,
        sequences=options.concurrency,
        offline=options.offline,
    )


def _show(fit: "Fit") -> None:
    question = fit.question
    print_line(f"Fit for the target {question.target.name}")
    columns = ("model", "weights", "KV cache", "requests", "host", "on")
    rows = [_row(model, question.target.gpu) for model in fit.models]
    print_table(columns, rows, right=columns[1:-1])
    print_line()
    for model in fit.models:
        print_line((f"{model.name}: {'; '.join(_details(model))}", "dim"))
    print_line()
    print_line(
        f"host memory {size(fit.host_bytes)} of {size(question.host_bytes)}, /dev/shm "
        f"{size(fit.shm_bytes)} of {size(question.shm_bytes)}, threads {fit.threads} on "
        f"{question.cores} processors"
    )
    _show_verdict(fit)


def _row(model: "ModelFit", on_gpu: bool) -> tuple[str, ...]:
    weights = cache = requests = "-"
    if model.weights_bytes is not None:
        weights = size(model.weights_bytes)
    if (engine := model.engine) is not None:
        cache, requests = size(engine.cache_bytes or engine.need.cache), f"{engine.sequences:.1f}"
    return (
        model.name,
        weights,
        cache,
        requests,
        size(model.host_bytes),
        _place(model, on_gpu),
    )


def _details(model: "ModelFit") -> list[str]:
    """The details that do not fit into the table."""
    need = model.need
    if need is None:  # a user's own code, or an ensemble of other models
        return [model.kind, f"threads {model.threads}"]
    parts = []
    if model.engine is not None:
        demand = model.engine.demand
        about, engine = demand.architecture, demand.engine
        parts += [
            f"{about.parameters / 1e9:.3g} B parameters, {about.attention}, "
            f"{engine.precision.label}, context {engine.context_length} × {demand.sequences}",
            f"KV cache {size(model.engine.need.token)} per token",
        ]
    parts += [f"activations {size(need.activations)}", f"processes {size(need.processes)}"]
    return [*parts, f"threads {model.threads}"]


def _place(model: "ModelFit", on_gpu: bool) -> str:
    placement = None if model.engine is None else model.engine.placement
    if placement is None:
        return "nowhere" if on_gpu and model.engine is not None else "CPU"
    text = f"GPU {','.join(map(str, placement.devices))}"
    if placement.tensor_parallel > 1:
        text += f" TP{placement.tensor_parallel}"
    if placement.pipeline_parallel > 1:
        text += f" PP{placement.pipeline_parallel}"
    return f"{text} {placement.share:.0%}"


def _show_verdict(fit: "Fit") -> None:
    for model in fit.models:
        for finding in model.findings:
            _show_finding(finding, f"{model.name}: ")
        for index, advice in enumerate(model.advice):
            print_line("  ", ("       or:" if index else "would fit:", "hint"), f" {advice}")
    for finding in fit.findings:
        _show_finding(finding)
    if fit.fits:
        print_line(("everything fits", "good"))


def _show_finding(finding: "Finding", name: str = "") -> None:
    label = ("does not fit:", "error") if finding.severity == "error" else ("note:", "warning")
    print_line(label, f" {name}{finding.text}")
    if finding.fix:
        print_line("  ", ("hint:", "hint"), f" {finding.fix}")
