"""`toolkit quantize`: smaller weights, and a report of what they cost in quality."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.options import Json, check_shard_size, shorthands, takes
from toolkit.cli.output import print_json, print_table, say
from toolkit.cli.progress import console_progress
from toolkit.errors import QuantizeError, UsageError
from toolkit.names import close_matches
from toolkit.progress import Progress
from toolkit.quantize.limits import Limits
from toolkit.quantize.methods import GRAPH_METHODS, METHODS
from toolkit.weights.sources import Fetched

_NAMES = [*METHODS, *GRAPH_METHODS]
_MODEL = "A Hugging Face directory, a .gguf file, hf:ORG/NAME or package:NAME==VERSION/path; for "
_MODEL += "ONNX an encoder's .onnx file or the output of `toolkit convert --to onnx`."


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit quantize`."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)]
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            autocompletion=lambda: _NAMES,
            help=f"For language models: {', '.join(METHODS)}. For ONNX models: "
            f"{', '.join(GRAPH_METHODS)}. `--awq` is short for `--method awq`, and so on.",
        ),
    ]
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory to create. Default: MODEL-METHOD."),
    ] = None
    group_size: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Number of inputs that share a scale. Default: the largest of 128, 64 and 32 that "
            "divides the inputs of the model's layers.",
        ),
    ] = None
    symmetric: Annotated[
        bool,
        typer.Option("--symmetric/--asymmetric", help="Quantize without or with zero points."),
    ] = True
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            help="A layer to leave unquantized: its name, the end of its name, or re:PATTERN. May "
            "be repeated. `lm_head` is always left unquantized."
        ),
    ] = None
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Calibration data: a .txt or .jsonl file, or hf:DATASET. Default: built-in texts."
        ),
    ] = None
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Calibration samples. Default: 32 on a CPU, 256 on a GPU."),
    ] = None
    length: Annotated[
        int | None,
        typer.Option(min=8, help="Tokens per sample. Default: 256 on a CPU, 512 on a GPU."),
    ] = None
    search: Annotated[
        int, typer.Option(min=4, help="Number of scales that AWQ tries for each layer.")
    ] = 20
    device: Annotated[str, typer.Option(help="Device to compute on: auto, cpu or cuda.")] = "auto"
    shard_size: Annotated[
        str,
        typer.Option(
            callback=check_shard_size, help="Maximum size of a weight file, such as 5GB or 500MB."
        ),
    ] = "5GB"
    layout: Annotated[
        str, typer.Option(help="Checkpoint format: compressed-tensors (for vLLM) or autoawq.")
    ] = "compressed-tensors"
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="ONNX: directory of the tokenizer, if it is not next to the model."),
    ] = None
    evaluation: Annotated[
        Path | None,
        typer.Option(help="Text file to measure quality with. Default: a built-in text."),
    ] = None
    engine: Annotated[
        bool,
        typer.Option("--engine/--no-engine", help="Also measure speed and quality in vLLM."),
    ] = True
    max_ppl_ratio: Annotated[
        float,
        typer.Option(
            min=0, help="Limit: perplexity of the result divided by perplexity of the source."
        ),
    ] = 2.0
    max_kl: Annotated[float, typer.Option(min=0, help="Limit: mean KL divergence in nats.")] = 1.0
    min_cosine: Annotated[
        float,
        typer.Option(min=-1, max=1, help="Limit for ONNX: mean cosine to the source's vectors."),
    ] = 0.9
    as_json: Json = False


@takes(Options, cls=shorthands("--method", _NAMES))
def quantize(options: Options) -> None:
    """Quantize a model and measure the loss of quality.

    The report compares size, perplexity, KL divergence and speed before and after. It is written to
    `quality/report.md` in the output directory. A result that breaks a limit is moved to
    OUTPUT.rejected, and the exit status is 3. An interrupted command continues where it stopped
    when it is run again.

    Examples:

        toolkit quantize path/to/model --awq -o model-awq

        toolkit quantize path/to/encoder --method int8-dynamic --json
    """
    from toolkit.quantize.sources import find_source

    # before the source is fetched, which may take minutes
    _check(options)
    output = options.output or Path(f"{Path(options.model.rstrip('/')).stem}-{options.method}")
    work = _quantize_graph if options.method in GRAPH_METHODS else _quantize_language
    with console_progress() as progress:
        report = work(options, find_source(options.model, progress), output, progress)
    _show(output, report, options.as_json)


def _check(options: Options) -> None:
    method = options.method
    if method not in _NAMES:
        near = close_matches(method, _NAMES)
        hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(_NAMES)}"
        raise UsageError(f"the method '{method}' does not exist", hint=hint)
    if options.device not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"--device {options.device} is not valid", hint="auto, cpu or cuda")
    if method in GRAPH_METHODS and (
        options.group_size is not None or options.layout != "compressed-tensors"
    ):
        raise UsageError(
            f"--method {method} is for ONNX models; --group-size and --layout are for language"
            " models",
            hint=f"for language models: {', '.join(METHODS)}",
        )


def _quantize_graph(
    options: Options, source: Fetched, output: Path, progress: Progress
) -> dict[str, Any]:
    from toolkit.quantize.graphs import GraphOptions, quantize_graph
    from toolkit.quantize.run import place_result

    graph = GraphOptions(
        options.method,
        options.tokenizer,
        options.calibration,
        options.samples,
        _limits(options),
        options.evaluation,
    )
    # the libraries raise anything for models that they do not know
    with _translated(options.model):
        return place_result(
            output, lambda folder: quantize_graph(source.path, graph, folder, progress)
        )


def _quantize_language(
    options: Options, source: Fetched, output: Path, progress: Progress
) -> dict[str, Any]:
    from toolkit.quantize import job, language
    from toolkit.quantize.graphs import is_graph
    from toolkit.quantize.run import place_result
    from toolkit.quantize.sources import as_checkpoint

    # known only now: a source may be a package or a repository on the Hub
    if is_graph(source.path):
        raise QuantizeError(
            f"{source.path} is an ONNX model, and --method {options.method} is for language models",
            hint=f"for ONNX models: {', '.join(GRAPH_METHODS)}",
        )
    # options of the same name are passed on; `ignore` becomes a tuple
    shared = {field.name for field in fields(job.Options)} - {"ignore"}
    chosen: dict[str, Any] = {name: getattr(options, name) for name in shared}
    how = job.Options(**chosen, ignore=tuple(options.ignore or ()))
    judging = job.Judging(
        _limits(options), options.evaluation, engine=options.engine, title=_title(options.model)
    )
    with _translated(options.model):
        checkpoint = as_checkpoint(source, progress)
        return place_result(
            output,
            lambda folder: language.quantize_language(checkpoint, how, judging, folder, progress),
        )


def _title(model: str) -> str:
    """The model's name in the report: its name on the Hub, or that of its file or folder."""
    scheme, _, name = model.rpartition(":")
    return name if scheme == "hf" else Path(name.rstrip("/")).absolute().name


def _limits(options: Options) -> Limits:
    return Limits(options.max_ppl_ratio, options.max_kl, options.min_cosine)


def _translated(model: str) -> Any:
    from toolkit.convert.failures import refusing

    return refusing(f"{model} cannot be quantized", kind=QuantizeError, through=(OSError,))


def _show(output: Path, report: dict[str, Any], as_json: bool) -> None:
    from toolkit.quantize.report import rows

    if as_json:
        print_json(report)
    else:
        print_table(("measure", "before", "after", "change"), rows(report))
    say(f"{output}: within its limits; the report is {output}/quality/report.md")
