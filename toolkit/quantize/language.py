"""Quantizes a causal language model, and writes a quality report.

Three stages: quantize (the result is cached, so that an interrupted run continues from there),
measure, and replace the output in one step. Heavy work runs in worker processes.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from toolkit.atomic import ensure
from toolkit.convert.checkpoint import cache_bytes_per_token
from toolkit.convert.kept import open_to_all
from toolkit.convert.safetensors_file import read_tensors
from toolkit.home import home
from toolkit.progress import Progress
from toolkit.quantize.checkpoint import Checkpoint, weight_bytes
from toolkit.quantize.job import (
    ANSWER_LENGTH,
    JUDGED_LENGTH,
    Job,
    Judging,
    Options,
    libraries,
    prepare,
)
from toolkit.quantize.layers import HEAD, check_quantized
from toolkit.quantize.limits import Limits, failures
from toolkit.quantize.process import Worker, run_worker
from toolkit.quantize.report import write_report
from toolkit.runtime.environments import ensure_environment
from toolkit.runtime.triton import ensure_triton
from toolkit.weights.digest import text_digest
from toolkit.weights.sources import Fetched

_STREAMS = 8


def quantize_language(
    fetched: Fetched, options: Options, judging: Judging, place: Path, progress: Progress
) -> dict[str, Any]:
    """Fills the empty folder `place` and returns its report, whose `failures` may not be empty.

    Raises QuantizeError or ConvertError if the options do not suit the model, and MissingExtra
    without the libraries of the extra `weights`.
    """
    job = prepare(fetched, options, judging)
    stage = ensure(
        home() / "quantized" / text_digest(job.key)[:32], lambda s: _make(job, s, progress)
    )
    made = json.loads((stage / "made.json").read_text())
    # never quantized into `place`: a later failure would throw hours of work away
    _take(stage / "model", place)
    text = [text_digest("\n".join(job.passages)), job.judged_length, options.device]
    # before repacking: transformers does not read AutoAWQ's layout without that library
    quality = measured(stage, "quality", text, lambda: _measure(job, place, progress))
    # the engine is judged by the same tokens, or the two perplexities could not be compared
    rows = quality.pop("rows")
    if options.layout == "autoawq":
        about = {
            "source": str(job.checkpoint.folder),
            "folder": str(place),
            "group_size": job.group_size,
            "symmetric": options.symmetric,
            "smooths": job.method.smooths,
        }
        run_worker(_own("autoawq"), about, progress)
    report = {
        "about": _about(job, made, judging.title),
        **quality,
        "size_bytes": _sizes(job.checkpoint.size_bytes, weight_bytes(place)),
        "memory_bytes": {"quantizing": made["peak_memory_bytes"]},
    }
    if judging.engine:
        python = ensure_environment("vllm", progress) / "bin" / "python"
        report["engine"] = measured(
            stage,
            f"engine-{options.layout}",
            # the path has the digest of the environment's lock: another vLLM is measured again
            [*text, judging.rounds, str(python)],
            lambda: _engine(job, place, rows, judging.rounds, progress),
        )
    report["failures"] = failures(judging.limits, report)
    report["limits"] = {name: getattr(judging.limits, name) for name in Limits.__slots__}
    report["notes"] = list(_notes(report))
    write_report(place / "quality", report)
    open_to_all(place)
    return report


def _own(module: str) -> Worker:
    log = home() / "logs" / f"quantize-{module}-{os.getpid()}.log"
    return Worker(f"toolkit.quantize.{module}", Path(sys.executable), log)


def _make(job: Job, stage: Path, progress: Progress) -> None:
    options = job.options
    work = {
        "source": str(job.checkpoint.folder),
        "output": str(stage / "model"),
        "architecture": job.checkpoint.architecture,
        "method": job.method.name,
        "group_size": job.group_size,
        "symmetric": options.symmetric,
        "ignore": list(options.ignore),
        "device": options.device,
        "shard_size": options.shard_size,
        "search": options.search,
        "samples": job.calibration.samples if job.calibration else [],
        "count": job.count,
        "length": job.length,
    }
    made = run_worker(_own("worker"), work, progress)
    # while the folder is being made, so that a result which fails here is not kept
    made["quantized"] = check_quantized(job.layers, read_tensors(stage / "model"))
    (stage / "made.json").write_text(json.dumps(made))


def _take(source: Path, place: Path) -> None:
    """Weights are linked; what people edit by hand is copied."""
    for path in sorted(source.iterdir()):
        if path.suffix == ".safetensors":
            try:
                os.link(path, place / path.name)
                continue
            except OSError:  # another file system, or one without hard links
                pass
        shutil.copyfile(path, place / path.name)


def measured(
    stage: Path, what: str, about: Sequence[object], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The result of `measure`, cached beside the quantized weights."""
    place = stage / f"{what}-{text_digest(json.dumps(about))[:16]}.json"
    if place.exists():
        kept: dict[str, Any] = json.loads(place.read_text())
        return kept
    measured = measure()
    # the stage has no lock here: two processes may measure the same, and neither reads half a file
    scratch = place.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(measured))
    scratch.replace(place)
    return measured


def _measure(job: Job, place: Path, progress: Progress) -> dict[str, Any]:
    work = {
        "source": str(job.checkpoint.folder),
        "result": str(place),
        "passages": job.passages,
        "count": len(job.passages) * 4,
        "length": job.judged_length,
        "device": job.options.device,
        "smooths": job.method.smooths,
        "scratch": str(place.parent),
    }
    return run_worker(_own("quality"), work, progress)


def _engine(
    job: Job, place: Path, rows: list[list[int]], rounds: int, progress: Progress
) -> dict[str, Any]:
    python = ensure_environment("vllm", progress) / "bin" / "python"
    most = min(job.context_length, JUDGED_LENGTH + ANSWER_LENGTH)
    tokens = _STREAMS * (JUDGED_LENGTH + ANSWER_LENGTH)
    work = {
        "models": {"before": str(job.checkpoint.folder), "after": str(place)},
        "rows": rows,
        "context_length": most,
        "cache_bytes": 2 * tokens * cache_bytes_per_token(job.checkpoint.config) + (64 << 20),
        "rounds": rounds,
        "speed_tokens": min(24, most // 2),
    }
    libraries = ensure_triton(progress).libraries  # with libnuma, which vLLM's kernels want
    worker = Worker("toolkit.quantize.engine", python, _own("engine").log, libraries)
    return run_worker(worker, work, progress)


def _about(job: Job, made: dict[str, Any], title: str) -> dict[str, Any]:
    options = job.options
    about: dict[str, Any] = {
        "model": title or _name(job.checkpoint),
        "method": f"{job.method.name}: {job.method.about}",
        "source_digest": job.digest,
        "architecture": job.checkpoint.architecture,
        "group_size": job.group_size,
        "symmetric": options.symmetric if job.method.grouped else None,
        "quantized_layers": len(made["quantized"]),
        "left_out": [HEAD, *job.layers.left_out],
        "layout": options.layout,
        "device": made["device"],
        "seconds": round(made["seconds"], 1),
        "libraries": libraries(),
        "judged_by": f"{len(job.passages)} passages that are not in the calibration text",
    }
    if job.calibration is not None:
        about["calibration"] = (
            f"{job.calibration.origin}: {made['calibration_samples']} samples, "
            f"{made['calibration_tokens']} tokens"
        )
    return {key: value for key, value in about.items() if value is not None}


def _name(checkpoint: Checkpoint) -> str:
    name = str(checkpoint.config.get("_name_or_path") or "").rstrip("/").rsplit("/", 1)[-1]
    folder = checkpoint.folder
    return name or (folder.parent.parent.name if folder.name == "weights" else folder.name)


def _sizes(before: int, after: int) -> dict[str, float]:
    return {"before": before, "after": after, "ratio": after / before}


def _notes(report: dict[str, Any]) -> list[str]:
    """Remarks that a reader needs to interpret the numbers."""
    notes = ["Layer errors add up along the model; they compare hidden states on the same text."]
    engine = report.get("engine")
    if engine is None:
        notes.append(
            "The engine was not run, so there are no tokens/s and no memory of a running engine."
        )
        return notes
    actual, expected = engine["models"]["after"]["perplexity"], report["perplexity"]["after"]
    if abs(actual / expected - 1) > 0.05:
        notes.append(
            f"The engine's perplexity ({actual:.4g}) is not transformers' ({expected:.4g}): "
            "it computes in another precision, or reads the files differently."
        )
    if not engine["paired"]:
        notes.append(
            "There was not enough memory for both engines at the same time, so speeds were"
            " measured one after the other."
        )
    if slower := [n for n, ratio in engine["speed_ratio"].items() if ratio < 0.95]:
        notes.append(
            f"On this machine the result is slower with {', '.join(slower)} at the same time."
        )
    return notes
