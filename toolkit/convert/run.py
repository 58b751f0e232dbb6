"""`toolkit convert` as a function: chooses and runs the conversion, and writes its record.

Invariant: the output is complete and within its stated tolerances, or does not exist. With `force`
it may exceed them; `conversion.json` beside it records the differences.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.atomic import make_new
from toolkit.convert.checkpoint import read_config
from toolkit.convert.failures import refusing
from toolkit.convert.kept import open_to_all
from toolkit.convert.parity import Parity, recording
from toolkit.convert.quiet import quiet
from toolkit.convert.recipes import load
from toolkit.errors import ConvertError, MissingExtra
from toolkit.facts import write_facts
from toolkit.kinds import all_kinds
from toolkit.kinds.classify import classify
from toolkit.kinds.files import MODULES, PIPELINE, read_files
from toolkit.kinds.llm.conversions import GGUF
from toolkit.progress import Progress

GOALS = ("onnx", "safetensors", "gguf", "tensorrt-llm")
RECORD = "conversion.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, slots=True)
class Request:
    """The source of a conversion, and its target format."""

    goal: str
    force: bool = False
    from_pickle: bool = False
    gguf_type: str = "F16"
    precision: str = "fp32"
    quantization: str | None = None
    shard_size: str = "5GB"
    texts: Sequence[str] = field(default=())


def convert(source: Path, request: Request, output: Path, progress: Progress) -> dict[str, Any]:
    """Converts `source` into the new directory `output`; returns the record.

    Raises ConvertError when source and goal do not fit together, when the result differs from its
    source by more than is stated (unless forced), or when the disk cannot hold it.
    """
    output = output.absolute()
    if not source.exists():
        raise ConvertError(f"{source} does not exist")
    record: dict[str, Any] = {}

    def fill(place: Path) -> None:
        what = f"{source.name} cannot be converted to {request.goal}"
        # a full disk passes: it is reported below as the output's fault, not the model's
        with recording(request.force) as parity, refusing(what, through=(OSError,)):
            details = _convert(source, request, place, progress)
        record.update(_record(source, request, parity, details))
        if "command" in details:
            # it was written for the folder in which the result is made
            details["command"] = _load("toolkit.convert.llmapi").command(output)
            record.update(details)
        (place / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        open_to_all(place)

    make_new(output, fill, ConvertError)
    return record


def _record(
    source: Path, request: Request, parity: Parity, details: dict[str, Any]
) -> dict[str, Any]:
    parts: dict[tuple[str, str], dict[str, Any]] = {}
    for check in parity.checks:  # the worst of each part stands for it
        kept = parts.setdefault((check.part, check.measure), {"difference": -1.0})
        # NaN is worse than any number, and stays
        if not (check.difference <= kept["difference"] or math.isnan(kept["difference"])):
            kept.update(difference=check.difference, tolerance=check.tolerance)
            kept["passed"] = check.passed
    return {
        "source": source.name,
        "to": request.goal,
        "parity": [
            {"part": part, "measure": measure, **values}
            for (part, measure), values in parts.items()
        ],
        "passed": all(check.passed for check in parity.checks),
        "forced": request.force,
        **details,
    }


def _convert(source: Path, request: Request, place: Path, progress: Progress) -> dict[str, Any]:
    match request.goal:
        case "onnx":
            return _to_onnx(source, request, place, progress)
        case "safetensors":
            return _to_safetensors(source, request, place, progress)
        case "gguf":
            module = _load("toolkit.convert.to_gguf")
            file = module.convert_to_gguf(_directory(source), place, request.gguf_type, progress)
            return {"file": file.name}
        case "tensorrt-llm":
            module = _load("toolkit.convert.tensorrt_llm")
            texts = list(request.texts)
            details: dict[str, Any] = module.convert_tensorrt_llm(
                _directory(source), place, request.quantization, texts, progress
            )
            return details
    raise ConvertError(f"cannot convert to '{request.goal}'", hint=f"known: {', '.join(GOALS)}")


def _to_onnx(source: Path, request: Request, place: Path, progress: Progress) -> dict[str, Any]:
    kind = _kind(source)
    if exporter := all_kinds()[kind].exporter:
        module = _load(exporter)
        details: dict[str, Any] = module.convert_decoder(source, place, request.precision, progress)
        return details
    if request.precision != "fp32":
        raise ConvertError(
            f"{source} is not a language model; its graph is written in fp32",
            hint="to quantize the graphs of other models, use toolkit quantize",
        )
    facts = load(all_kinds()[kind].conversion(source))(source, place, progress)
    write_facts(place, facts)
    return {"kind": kind, "facts": facts.model_dump()}


def _kind(source: Path) -> str:
    """The kind of the weights in a directory. Raises ConvertError if it is not a model directory,
    or cannot be converted."""
    settings = ("config.json", PIPELINE, MODULES, "adapter_config.json")
    if not any((source / name).is_file() for name in settings):
        raise ConvertError(
            f"{source} is not a model directory: it has neither config.json nor {PIPELINE}",
            hint="name a Hugging Face, sentence-transformers or diffusers directory",
        )
    if (source / "config.json").is_file():
        read_config(source)  # for its errors, which say what a checkpoint needs
    found = classify(read_files(source))
    if found.what and not found.kind:
        raise ConvertError(f"{source} is {found.what}, which cannot be converted", hint=found.fix)
    # that conversion reads the weights of any encoder, and says what it misses
    return found.kind or "embedding"


def _to_safetensors(
    source: Path, request: Request, place: Path, progress: Progress
) -> dict[str, Any]:
    if source.suffix == ".gguf":
        facts = load(GGUF)(source, place, progress)
        for file in (place / "engine" / "weights").iterdir():
            file.rename(place / file.name)
        for folder in ("engine/weights", "engine"):
            (place / folder).rmdir()
        # links to files that are beside the weights as well
        for file in (place / "prompt" / "tokenizer").iterdir():
            file.unlink()
        for folder in ("prompt/tokenizer", "prompt"):
            (place / folder).rmdir()
        return {"facts": facts.model_dump()}
    if not request.from_pickle:
        raise ConvertError(
            f"{source} is not a .gguf file, and --from-pickle was not passed",
            hint="pass --from-pickle to load pickles, weights only",
        )
    module = _load("toolkit.convert.pickles")
    module.convert_pickles(source, place, progress, request.shard_size)
    return {}


def _directory(source: Path) -> Path:
    if source.is_dir():
        return source
    raise ConvertError(
        f"{source} is not a directory",
        hint="name a Hugging Face directory; --to safetensors converts a .gguf file to one",
    )


def _load(name: str) -> Any:
    try:
        with quiet():
            return import_module(name)
    except ImportError as error:
        raise MissingExtra("weights", f"this conversion ({error})") from error
