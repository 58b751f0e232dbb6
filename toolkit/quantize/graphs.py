"""Quantizes ONNX encoders and diffusion graphs, and reports the quality.

This module finds and checks the files; `graph_worker` quantizes them in a separate process. The
result is a directory that models.yaml accepts as `source: path:…`.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.convert.kept import open_to_all
from toolkit.convert.steps import TOKENIZER_FILES
from toolkit.errors import QuantizeError
from toolkit.facts import FILE, write_facts
from toolkit.home import home
from toolkit.kinds import all_kinds, read_facts
from toolkit.kinds.embedding import KIND as EMBEDDING
from toolkit.kinds.embedding import EmbeddingFacts
from toolkit.kinds.kind import Kind, Rounding
from toolkit.progress import Progress
from toolkit.quantize.graph_files import files_of
from toolkit.quantize.limits import Limits, failures
from toolkit.quantize.methods import GRAPH_METHODS
from toolkit.quantize.process import Worker, run_worker
from toolkit.quantize.report import write_report
from toolkit.quantize.texts import load_calibration, load_evaluation

_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """How to quantize; None means what is found or shipped."""

    method: str
    tokenizer: Path | None = None
    calibration: str | None = None
    samples: int | None = None
    limits: Limits = Limits()  # noqa: RUF009  frozen
    evaluation: Path | None = None


def is_graph(path: Path) -> bool:
    """An .onnx file, or a directory that a conversion to ONNX wrote."""
    return path.suffix == ".onnx" or ((path / FILE).exists() and bool(list(path.glob("*/*.onnx"))))


def quantize_graph(
    path: Path, options: GraphOptions, place: Path, progress: Progress
) -> dict[str, Any]:
    """Fills the empty folder `place` and returns the report. Raises QuantizeError if the model is
    of a kind without graphs, or the options do not suit it."""
    root = _root(path)
    kind: Kind[Any, Any] = EMBEDDING
    if root is None:
        _assemble(path, options, place)
    else:
        kind = all_kinds()[read_facts(root).kind]
        _copy(root, kind, place)
    if (rounding := kind.rounding) is None:
        raise QuantizeError(
            f"{path} is a {kind.name} model", hint="language models: --awq, --gptq, --int8, --fp8"
        )
    # after the kind is known, before the texts: what does not fit needs no reading
    _check(rounding, options)
    passages = load_evaluation(options.evaluation)
    calibration = load_calibration(options.calibration, passages)
    texts = [sample for sample in calibration.samples if isinstance(sample, str)]
    job = {
        "measure": rounding.measure,
        "method": options.method,
        "source": str(root or path),
        "place": str(place),
        "needed": kind.graphs,
        "graphs": kind.graphs if options.method == "fp16" else list(rounding.int8),
        "context_length": _claimed_length(place),
        "calibration": texts[: options.samples or _SAMPLES],
        "evaluation": passages,
    }
    log = home() / "logs" / f"quantize-graph-{os.getpid()}.log"
    worker = Worker("toolkit.quantize.graph_worker", Path(sys.executable), log)
    report = run_worker(worker, job, progress)
    return _finish(report, path, options, place)


def _finish(
    report: dict[str, Any], path: Path, options: GraphOptions, place: Path
) -> dict[str, Any]:
    about = {
        "model": (path.parent.name if path.name == "model.onnx" else path.stem) or path.name,
        "method": f"{options.method}: {GRAPH_METHODS[options.method]}",
        **report.pop("about"),
    }
    report = {"about": about, **report}
    length = report.pop("context_length")
    if "dimensions" in report:
        _write_facts(place, int(report.pop("dimensions")), length, bool(report.pop("normalized")))
    report["failures"] = failures(options.limits, report)
    report["limits"] = {"min_cosine": options.limits.min_cosine}
    write_report(place / "quality", report)
    open_to_all(place)
    return report


def _check(rounding: Rounding, options: GraphOptions) -> None:
    if options.method == "int8-static" and not rounding.fixed_ranges:
        raise QuantizeError(
            "--int8-static requires calibrated ranges, which change between the steps of a"
            " diffusion model",
            hint="use --int8-dynamic or --fp16",
        )
    if options.method != "int8-static" and options.calibration is not None:
        raise QuantizeError(
            f"--{options.method} does not use calibration text; remove --calibration"
        )


def _root(path: Path) -> Path | None:
    """The converted directory that `path` is, or is in."""
    if path.suffix != ".onnx":
        if (path / FILE).exists():
            return path
        raise QuantizeError(
            f"{path} is neither an .onnx file nor a directory that a conversion wrote",
            hint=f"toolkit convert {path} --to onnx",
        )
    folder = path.absolute().parents[1]
    return folder if (folder / FILE).exists() else None


def _copy(root: Path, kind: Kind[Any, Any], place: Path) -> None:
    # not the whole folder: it may hold an earlier result's report
    for step in kind.steps:
        if (root / step.name).is_dir():
            shutil.copytree(root / step.name, place / step.name)
    shutil.copyfile(root / FILE, place / FILE)


def _assemble(path: Path, options: GraphOptions, place: Path) -> None:
    """A bare graph and its tokenizer in the places of a converted directory."""
    tokenizer = options.tokenizer or next(
        (folder for folder in _candidates(path) if (folder / "tokenizer.json").exists()), None
    )
    if tokenizer is None or not (tokenizer / "tokenizer.json").exists():
        raise QuantizeError(
            f"{path} has no tokenizer beside it, which the quality report requires",
            hint="pass --tokenizer DIR with a tokenizer.json",
        )
    (place / "encoder").mkdir()
    for file in files_of(path):
        name = "model.onnx" if file == path else file.name
        shutil.copyfile(file, place / "encoder" / name)
    target = place / "tokenize" / "tokenizer"
    target.mkdir(parents=True)
    for name in TOKENIZER_FILES:  # the folder may hold the graph, and `place` itself
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, target / name)


def _candidates(path: Path) -> list[Path]:
    folder = path.absolute().parent
    model = folder.parent.name  # in a model repository: NAME.encoder/1/model.onnx
    repository = folder.parent.parent / f"{model.removesuffix('.encoder')}.tokenize" / folder.name
    return [folder, folder / "tokenizer", repository / "tokenizer"]


def _claimed_length(place: Path) -> int | None:
    """The longest text, in tokens, that the facts or else the tokenizer state."""
    if (place / FILE).exists():
        facts = read_facts(place)
        return facts.context_length if isinstance(facts, EmbeddingFacts) else None
    config = place / "tokenize" / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(config.read_text()) if config.exists() else {}
    most = settings.get("model_max_length") or 512
    # transformers writes 10³⁰ for a tokenizer without a limit
    return int(most) if most < 1_000_000 else 512


def _write_facts(place: Path, dimensions: int, context_length: int, normalized: bool) -> None:
    """For a bare graph: what its vectors say, and how long its texts may be."""
    if not (place / FILE).exists():
        facts = EmbeddingFacts(
            dimensions=dimensions, context_length=context_length, normalized=normalized
        )
        write_facts(place, facts)
