"""`toolkit fit`: an estimate of what the models need, before anything starts."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.progress import console_progress
from toolkit.cli.sizes import size
from toolkit.fit import Fit, Question, devices_of, fit_models, parse_gpus, parse_size
from toolkit.fit.estimate import LlmNeed
from toolkit.fit.models import SHARED_MEMORY, ModelFit
from toolkit.fit.report import as_json as fit_json
from toolkit.machine import LocalProbe, Probe, cores, found_gpus, memory_bytes
from toolkit.spec import load
from toolkit.targets import FORMS, find_target


def fit(
    context: typer.Context,
    models: Annotated[Path, typer.Argument(help="What is to be served.")] = Path("models.yaml"),
    gpus: Annotated[
        str | None,
        typer.Option(
            help="GPUs to check instead of those found here: NAME:COUNT or SIZE:COUNT, with "
            "commas, as in h100:2 or l4:1,24GiB:2; none for a machine without."
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Requests of full context that each language model is to hold at a time. Default: "
            "the engine's max_num_seqs, else 16.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help=f"What is to serve them: {FORMS}. Default: embedded, or container with --gpus."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Host memory to check, as in 64GiB. Default: what is free here."),
    ] = None,
    processors: Annotated[
        int | None, typer.Option(min=1, help="Processors to check. Default: those of here.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing; fail for weights that are not here.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON.")] = False,
) -> None:
    """Estimate whether the models fit on this or other hardware.

    Covers weights, KV cache, memory, threads and GPUs, and suggests what would fit.

    Reads config.json and headers of weights; starts nothing. Estimates are within 15 % of what the
    running engines report. Exit status: 0 everything fits, 1 something does not, 2 wrong use.

    Examples:

        toolkit fit

        toolkit fit --gpus h100:2 --concurrency 32

        toolkit fit big.yaml --gpus 24GiB:4 --memory 128GiB --json
    """
    spec = load(models)
    probe: Probe = context.obj if context.obj is not None else LocalProbe()
    described = parse_gpus(gpus) if gpus is not None else None
    chosen = find_target(target or ("container" if described else "embedded"))
    disk = probe.disk(SHARED_MEMORY) if memory is None else None
    flags = (probe.read("/proc/cpuinfo") or "").partition("flags")[2].partition("\n")[0].split()
    question = Question(
        spec=spec,
        target=chosen,
        devices=devices_of(found_gpus(probe)) if described is None else described,
        host_bytes=parse_size(memory) if memory else memory_bytes(probe).available_bytes,
        cores=processors or cores(probe),
        avx512="avx512f" in flags,
        shm_bytes=disk[1] if disk else parse_size(memory or "0.001GiB") // 2,
        sequences=concurrency,
        offline=offline,
    )
    with console_progress(Console(stderr=True)) as progress:
        result = fit_models(question, progress)
    if as_json:
        typer.echo(json.dumps(fit_json(result), indent=2, ensure_ascii=False))
    else:
        _show(result)
    raise typer.Exit(0 if result.fits else 1)


def _show(fit: Fit) -> None:
    console = Console(highlight=False)
    question = fit.question
    table = Table(
        title=f"Fit for the target {question.target.name}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("model", overflow="fold")
    for column in ("weights", "KV cache", "requests", "host"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("on", overflow="fold")
    for model in fit.models:
        table.add_row(*_row(model, question.target.gpu))
    console.print(table)
    console.print()
    for model in fit.models:
        details = f"{model.name}: {'; '.join(_details(model))}"
        console.print(details, style="dim", markup=False)
    console.print()
    console.print(
        f"host memory {size(fit.host_bytes)} of {size(question.host_bytes)}, /dev/shm "
        f"{size(fit.shm_bytes)} of {size(question.shm_bytes)}, threads {fit.threads} on "
        f"{question.cores} processors",
        soft_wrap=True,
    )
    _show_verdict(console, fit)


def _row(model: ModelFit, on_gpu: bool) -> tuple[str, ...]:
    need = model.need
    assert need is not None
    cached = isinstance(need, LlmNeed)
    weights = model.wanted.weights if model.wanted else need.weights
    return (
        model.name,
        size(weights),
        size(model.cache_bytes or need.cache) if isinstance(need, LlmNeed) else "-",
        f"{model.sequences:.1f}" if cached else "-",
        size(model.host_bytes),
        _place(model, on_gpu),
    )


def _details(model: ModelFit) -> list[str]:
    """What the table has no room for."""
    need = model.need
    assert need is not None
    parts = []
    if model.wanted is not None:
        about, engine = model.wanted.architecture, model.wanted.engine
        parts.append(
            f"{about.parameters / 1e9:.3g} B parameters, {about.attention}, "
            f"{engine.precision.label}, context {engine.context_length} × {model.wanted.sequences}"
        )
    if isinstance(need, LlmNeed):
        parts.append(f"KV cache {size(need.token)} per token")
    parts += [f"activations {size(need.activations)}", f"processes {size(need.processes)}"]
    return [*parts, f"threads {model.threads}"]


def _place(model: ModelFit, on_gpu: bool) -> str:
    placement = model.placement
    if placement is None:
        return "nowhere" if on_gpu and model.wanted is not None else "CPU"
    text = f"GPU {','.join(map(str, placement.devices))}"
    if placement.tensor_parallel > 1:
        text += f" TP{placement.tensor_parallel}"
    if placement.pipeline_parallel > 1:
        text += f" PP{placement.pipeline_parallel}"
    return f"{text} {placement.share:.0%}"


def _show_verdict(console: Console, fit: Fit) -> None:
    for model in fit.models:
        for problem in model.problems:
            console.print(f"[bold red]does not fit:[/] {model.name}: {problem}", soft_wrap=True)
        for index, advice in enumerate(model.advice):
            word = "would fit:" if not index else "       or:"
            console.print(f"  [bold cyan]{word}[/] ", end="")
            console.print(advice, markup=False, soft_wrap=True)
    for problem in fit.problems:
        console.print(f"[bold red]does not fit:[/] {problem}", soft_wrap=True)
    for note in fit.notes:
        console.print(f"[bold yellow]note:[/] {note}", soft_wrap=True)
    if fit.fits:
        console.print("[bold green]everything fits[/]")
