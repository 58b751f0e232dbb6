"""`toolkit quantize`: smaller weights, and a report of what that cost."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.progress import console_progress
from toolkit.convert.failures import refusing
from toolkit.errors import QuantizeError
from toolkit.quantize.graphs import GRAPH_METHODS, GraphOptions, is_graph, quantize_graph
from toolkit.quantize.language import Judging, Options, quantize_language
from toolkit.quantize.limits import Limits
from toolkit.quantize.report import rows
from toolkit.quantize.run import place_result
from toolkit.quantize.sources import as_checkpoint, find_source

_MODEL = "A Hugging Face directory, a .gguf file, hf:ORG/NAME, package:NAME==VERSION/path; or an "
_MODEL += "encoder's .onnx file, or a directory that `toolkit convert --to onnx` wrote."


def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: MODEL-METHOD, here.")
    ] = None,
    awq: Annotated[bool, typer.Option("--awq", help="4-bit weights, activation-aware.")] = False,
    gptq: Annotated[bool, typer.Option("--gptq", help="4-bit weights, GPTQ.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit weights and activations (W8A8).")
    ] = False,
    fp8: Annotated[bool, typer.Option("--fp8", help="FP8 weights and activations.")] = False,
    int4_rtn: Annotated[
        bool, typer.Option("--int4-rtn", help="4-bit weights, rounded to nearest.")
    ] = False,
    int8_dynamic: Annotated[
        bool, typer.Option("--int8-dynamic", help="ONNX: 8-bit weights, activations as they come.")
    ] = False,
    int8_static: Annotated[
        bool, typer.Option("--int8-static", help="ONNX: 8-bit weights and calibrated activations.")
    ] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="ONNX: half precision.")] = False,
    group_size: Annotated[
        int | None,
        typer.Option(
            min=2, help="Inputs that share a scale. Default: the largest of 128, 64, 32 that fits."
        ),
    ] = None,
    symmetric: Annotated[
        bool, typer.Option("--symmetric/--asymmetric", help="Without or with zero points.")
    ] = True,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="A layer left in float besides lm_head: a name, its end, or re:PATTERN."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="A .txt or .jsonl file, or hf:DATASET. Default: the shipped texts."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Rows of it. Default: 32 on a CPU, 256 on a GPU.")
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=8, help="Tokens of a row. Default: 256 on a CPU, else 512.")
    ] = None,
    search: Annotated[int, typer.Option(min=4, help="Scales that --awq tries a layer.")] = 20,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    shard_size: Annotated[str, typer.Option(help="The largest file, as 5GB or 500MB.")] = "5GB",
    layout: Annotated[
        str, typer.Option(help="compressed-tensors (vLLM), or autoawq for engines that want it.")
    ] = "compressed-tensors",
    tokenizer: Annotated[
        Path | None, typer.Option(help="ONNX: the tokenizer's directory, if it is not beside it.")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Text that judges the result. Default: the shipped text.")
    ] = None,
    engine: Annotated[
        bool, typer.Option("--engine/--no-engine", help="Also measure both in the real engine.")
    ] = True,
    max_ppl_ratio: Annotated[
        float, typer.Option(min=0, help="Perplexity after, over before.")
    ] = 2.0,
    max_kl: Annotated[float, typer.Option(min=0, help="Mean KL divergence, in nats.")] = 1.0,
    min_cosine: Annotated[
        float, typer.Option(min=-1, max=1, help="ONNX: mean cosine to the source's vectors.")
    ] = 0.9,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Quantize a model and measure what quality it loses.

    The report compares perplexity, KL divergence, size and speed.

    Choose one method. The result appears at once and whole, with `quality/report.md` in it. Exit
    status 3: it breaks a limit, and was kept aside as OUTPUT.rejected. Interrupted after the
    quantizing itself, the same command goes on from there.

    Examples:

        toolkit quantize path/to/model --awq -o model-awq

        toolkit quantize path/to/encoder --int8-dynamic --json
    """
    chosen = {
        "awq": awq, "gptq": gptq, "int8": int8, "fp8": fp8, "int4-rtn": int4_rtn,
        "int8-dynamic": int8_dynamic, "int8-static": int8_static, "fp16": fp16,
    }  # fmt: skip
    method = _one(chosen)
    if device not in {"auto", "cpu", "cuda"}:
        raise QuantizeError(f"--device {device} is unknown", hint="auto, cpu or cuda")
    place = output or Path(f"{Path(model.rstrip('/')).stem}-{method}")
    limits = Limits(max_ppl_ratio, max_kl, min_cosine)
    console = Console(file=sys.stderr, soft_wrap=True)
    named = refusing(f"{model} cannot be quantized", kind=QuantizeError, through=(OSError,))
    with console_progress(console) as progress:
        fetched = find_source(model, progress)
        if method in GRAPH_METHODS:
            _only_for_language(group_size, layout, "ONNX graphs")
            graph = GraphOptions(method, tokenizer, calibration, samples, limits, evaluation)
            with named:
                report = place_result(
                    place, lambda folder: quantize_graph(fetched.path, graph, folder, progress)
                )
        else:
            _refuse_graph(fetched.path, method)
            options = Options(
                method=method,
                group_size=group_size,
                symmetric=symmetric,
                ignore=tuple(ignore or ()),
                calibration=calibration,
                samples=samples,
                length=length,
                search=search,
                device=device,
                shard_size=shard_size,
                layout=layout,
            )
            judging = Judging(limits, evaluation, engine=engine)
            with named:
                source = as_checkpoint(fetched, progress)
                report = place_result(
                    place,
                    lambda folder: quantize_language(source, options, judging, folder, progress),
                )
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    _show(console, place, report)


def _one(chosen: dict[str, bool]) -> str:
    names = [name for name, wanted in chosen.items() if wanted]
    if len(names) == 1:
        return names[0]
    known = ", ".join(f"--{name}" for name in chosen)
    found = " and ".join(f"--{name}" for name in names) or "none"
    raise QuantizeError(f"choose one method, not {found}", hint=f"one of {known}")


def _only_for_language(group_size: int | None, layout: str, what: str) -> None:
    if group_size is not None or layout != "compressed-tensors":
        raise QuantizeError(f"--group-size and --layout are for language models, not {what}")


def _refuse_graph(path: Path, method: str) -> None:
    if is_graph(path):
        raise QuantizeError(
            f"--{method} is for language models, and {path} is an ONNX model",
            hint=f"for ONNX: {', '.join(f'--{name}' for name in GRAPH_METHODS)}",
        )


def _show(console: Console, place: Path, report: dict[str, Any]) -> None:
    table = Table(box=None, padding=(0, 2), show_edge=False)
    for column in ("", "before", "after", ""):
        table.add_column(column)
    for row in rows(report):
        table.add_row(*row)
    console.print(table)
    console.print(f"{place}: within its limits; {place}/quality/report.md", highlight=False)
