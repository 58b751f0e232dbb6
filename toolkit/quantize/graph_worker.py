"""Quantizes ONNX graphs with onnxruntime's tools and measures the cost. A process of its own.

Every choice below was measured on MiniLM (192 sentences): only MatMul and Gather, one scale for
each channel keep cosine 0.993, where the tools' defaults keep 0.960.
"""

import shutil
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from toolkit.convert.limit import MOST_TRIED, longest
from toolkit.errors import QuantizeError
from toolkit.quantize.events import Events, Job, work
from toolkit.quantize.graph_files import check_graphs, files_of
from toolkit.quantize.graph_quality import MEASURES, encoder_of, session_of
from toolkit.quantize.graph_weights import floats_of_products, prepare, rounded

Array = npt.NDArray[Any]


def main() -> None:
    """The worker's entry point, called by `toolkit.quantize.process`."""
    work(_run)


def _run(job: Job, events: Events) -> Job:
    place, started = Path(job["place"]), time.monotonic()
    check_graphs(place, job["needed"])
    before = _size(place)
    source = place.with_name(f"{place.name}-source")
    # the graph is replaced in `place`, and what it was is needed for the comparison
    shutil.copytree(place, source)
    try:
        if job["measure"] == "vectors":
            job["context_length"] = _context_length(source, job["context_length"])
        with events.step("quantize graphs", total=len(job["graphs"]), unit="graphs") as step:
            for name in job["graphs"]:
                step.note(name)
                _quantize(place / name / "model.onnx", job)
                step.advance()
        weights = _count_rounded(source, place, job)
        measured = MEASURES[job["measure"]](source, place, job, events)
    finally:
        shutil.rmtree(source)
    after = _size(place)
    return {
        "about": {
            "graphs": job["graphs"],
            **weights,
            "seconds": round(time.monotonic() - started, 1),
            "onnxruntime": onnxruntime.__version__,
        },
        "size_bytes": {"before": before, "after": after, "ratio": after / before},
        "context_length": job["context_length"],
        **measured,
    }


def _context_length(source: Path, claimed: int) -> int:
    """Tokens that the graph computes, at most `claimed`: its tokenizer may promise more."""
    try:
        session = session_of(source)
    except Exception as error:  # onnxruntime raises anything
        raise _refusal(source / "encoder" / "model.onnx", error) from error

    def works(length: int) -> bool:
        row = np.ones((1, length), dtype=np.int64)
        try:
            session.run(None, {"input_ids": row, "attention_mask": row})
        except Exception:  # onnxruntime raises anything
            return False
        return True

    most = min(claimed, MOST_TRIED)
    tokens = longest(works, most)
    if tokens == 0:
        raise QuantizeError(
            "the graph cannot be run with `input_ids` and `attention_mask` INT64 [1, 1]",
            hint="use an encoder that `toolkit convert --to onnx` wrote",
        )
    # lengths above MOST_TRIED are trusted
    return claimed if tokens == most else tokens


def _count_rounded(source: Path, place: Path, job: Job) -> Job:
    """How many weights each graph lost precision in, and those that kept it.

    Raises QuantizeError when no weight of any graph was rounded: then nothing was quantized.
    """
    files = {name: f"{name}/model.onnx" for name in job["graphs"]}
    counts = {name: rounded(source / file, place / file) for name, file in files.items()}
    if not any(counts.values()):
        raise QuantizeError(
            f"--{job['method']} did not quantize any weight of {', '.join(files)}",
            hint="only weights of float32 matrix products are quantized; these may already be "
            "quantized, or be computed in the graph",
        )
    kept = [
        f"{name}: {weight}"
        for name, file in files.items()
        if job["method"] != "fp16"
        for weight in floats_of_products(place / file)
    ]
    return {"rounded_weights": counts, "kept_in_float": kept}


def _size(place: Path) -> int:
    graphs = place.glob("*/model.onnx")
    return sum(file.stat().st_size for graph in graphs for file in files_of(graph))


def _quantize(file: Path, job: Job) -> None:
    """Replaces the graph, with its weights inside."""
    outside = files_of(file)[1:]
    fresh = file.with_suffix(".quantizing.onnx")
    try:
        if job["method"] == "fp16":
            _halve(file, fresh)
        else:
            _round(file, fresh, job)
    except Exception as error:  # the tools raise anything
        raise _refusal(file, error) from error
    # the tools write weights into the graph, so the old ones are of no use
    for data in outside:
        data.unlink(missing_ok=True)
    fresh.replace(file)


def _refusal(file: Path, error: Exception) -> QuantizeError:
    return QuantizeError(
        f"{file.name} of {file.parent.name} cannot be quantized: {error}",
        hint="it must be a float32 graph that onnxruntime can run",
    )


def _halve(file: Path, fresh: Path) -> None:
    """Half precision inside, float32 at the ends.

    Encoders go through the optimizer, which folds what halving would double. What it makes of a
    UNet or a decoder only runs on GPUs (NhwcConv), and the graph must run anywhere.
    """
    if file.parent.name == "encoder":
        optimizer: Any = import_module("onnxruntime.transformers.optimizer")
        model = optimizer.optimize_model(str(file), model_type="bert", opt_level=0, use_gpu=False)
    else:
        models: Any = import_module("onnxruntime.transformers.onnx_model")
        model = models.OnnxModel(import_module("onnx").load(file))
    # onnxruntime's own: onnxconverter-common 1.16 wrote a graph that onnxruntime refuses
    model.convert_float_to_float16(keep_io_types=True)
    _drop_repeated(model.model.graph)
    model.save_model_to_file(str(fresh))


def _drop_repeated(graph: Any) -> None:
    """The conversion writes the same cast again for each of a node's inputs that needs it."""
    seen: set[str] = set()
    for node in list(graph.node):
        if node.output[0] in seen:
            graph.node.remove(node)
        seen.update(node.output)


def _round(file: Path, fresh: Path, job: Job) -> None:
    tools: Any = import_module("onnxruntime.quantization")
    left_out = prepare(file)
    if job["method"] == "int8-dynamic":
        tools.quantize_dynamic(
            str(file),
            str(fresh),
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_exclude=left_out,
        )
        return
    encode = encoder_of(Path(job["place"]), job["context_length"])
    batches = iter([encode([text]) for text in job["calibration"]])

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Array] | None:
            return next(batches, None)

    tools.quantize_static(
        str(file),
        str(fresh),
        Reader(),
        quant_format=tools.QuantFormat.QDQ,
        # with all operators MiniLM comes to a cosine of 0.82
        op_types_to_quantize=["MatMul", "Gemm"],
        nodes_to_exclude=left_out,
        per_channel=True,
        # signed symmetric activations: cosine 0.84 instead of 0.93, at half the speed
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
    )
