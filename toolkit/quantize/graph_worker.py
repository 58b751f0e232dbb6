"""Quantizes ONNX graphs with onnxruntime's tools and measures the cost. A process of its own.

Every choice below was measured on MiniLM (192 sentences): only MatMul and Gather, one scale for
each channel keep cosine 0.993, where the tools' defaults keep 0.960.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from toolkit.convert.images import draw, psnr
from toolkit.convert.limit import MOST_TRIED, longest
from toolkit.errors import QuantizeError
from toolkit.quantize.events import Events, Job, work
from toolkit.quantize.graph_files import check_graphs, files_of
from toolkit.quantize.graph_weights import floats_of_products, prepare, rounded

Array = npt.NDArray[Any]
_ROUNDS = 3
_BATCH = 16
_NEIGHBOURS = 5
_LENGTH = 256
_PROMPTS = ("a red house", "a yellow face", "a green tree")


def main() -> None:
    """Called by `toolkit.quantize.process`."""
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
        measured = _MEASURES[job["measure"]](source, place, job, events)
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
        session = _session(source)
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
    encode = _encoder(Path(job["place"]), job["context_length"])
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


def _encoder(place: Path, context_length: int) -> Callable[[Sequence[str]], dict[str, Array]]:
    """Texts → padded `input_ids` and `attention_mask`, as the serving step makes them."""
    file = place / "tokenize" / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(min(_LENGTH, context_length))
    tokenizer.enable_padding()

    def encode(texts: Sequence[str]) -> dict[str, Array]:
        rows = tokenizer.encode_batch(list(texts))
        return {
            "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
        }

    return encode


def _sentences(passages: Sequence[str]) -> list[str]:
    """The passages' sentences, and the passages themselves: short and long texts."""
    sentences = [part.strip() for text in passages for part in text.replace("\n", " ").split(". ")]
    # by length: batches of equal lengths have little padding to compute
    return sorted({text for text in [*sentences, *passages] if len(text) > 8}, key=len)


def _compare_vectors(source: Path, place: Path, job: Job, events: Events) -> Job:
    """Cosines, the order of pairs, neighbours, and sentences/s in turns on one thread."""
    texts = _sentences(job["evaluation"])
    encode = _encoder(place, job["context_length"])
    batches = [encode(texts[n : n + _BATCH]) for n in range(0, len(texts), _BATCH)]
    sessions = {"before": _session(source), "after": _session(place)}
    speeds: dict[str, list[float]] = {name: [] for name in sessions}
    vectors: dict[str, Array] = {}
    with events.step("compare vectors", total=_ROUNDS, unit="rounds") as step:
        for number in range(_ROUNDS):
            # who begins changes, so that a machine which warms up or throttles favours neither
            for name in sorted(sessions, reverse=number % 2 == 0):
                started = time.monotonic()
                vectors[name] = np.concatenate(
                    [sessions[name].run(None, batch)[0] for batch in batches]
                )
                speeds[name].append(len(texts) / (time.monotonic() - started))
            step.advance()
    ratio = statistics.median(
        after / before for before, after in zip(speeds["before"], speeds["after"], strict=True)
    )
    expected, actual = (_normalized(vectors[name]) for name in ("before", "after"))
    cosines = np.sum(expected * actual, axis=1)
    return {
        "sentences": len(texts),
        "dimensions": int(actual.shape[1]),
        "normalized": bool(np.allclose(np.linalg.norm(vectors["before"], axis=1), 1, atol=1e-3)),
        "cosine": {"mean": float(cosines.mean()), "min": float(cosines.min())},
        "rank_correlation": rank_correlation(expected, actual),
        "neighbours": _neighbours(expected, actual),
        "sentences_per_s": {name: statistics.median(values) for name, values in speeds.items()}
        | {"ratio": ratio},
        "distribution": {
            "title": "cosine of each sentence, in order",
            "values": sorted(float(value) for value in cosines),
        },
    }


def _session(place: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    file = str(place / "encoder" / "model.onnx")
    providers = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(file, options, providers=providers)


def _normalized(vectors: Array) -> Array:
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12))


def rank_correlation(expected: Array, actual: Array) -> float:
    """Spearman's, between the similarities of all pairs of rows; vectors are normalized."""
    upper = np.triu_indices(len(expected), 1)
    # argsort of argsort gives each value's rank
    ranks = [np.argsort(np.argsort((v @ v.T)[upper])).astype(float) for v in (expected, actual)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _neighbours(expected: Array, actual: Array) -> float:
    """Share of each row's nearest rows that are still its nearest."""
    kept = []
    for row, other in zip(_nearest(expected), _nearest(actual), strict=True):
        kept.append(len(row & other) / _NEIGHBOURS)
    return float(np.mean(kept))


def _nearest(vectors: Array) -> Iterator[set[int]]:
    similar = vectors @ vectors.T
    # below any cosine, or each row would be its own neighbour
    np.fill_diagonal(similar, -2)
    for row in np.argsort(-similar, axis=1)[:, :_NEIGHBOURS]:
        yield set(row.tolist())


def _compare_images(source: Path, place: Path, _: Job, events: Events) -> Job:
    """The same prompts and seeds through both, and how far the images are apart."""
    values = []
    with events.step("compare images", total=len(_PROMPTS), unit="images") as step:
        for seed, prompt in enumerate(_PROMPTS):
            values.append(psnr(draw(source, prompt, seed), draw(place, prompt, seed)))
            step.advance()
    return {
        "images": len(values),
        "psnr_db": {"mean": float(np.mean(values)), "min": min(values)},
        "distribution": {"title": "PSNR of each image (dB)", "values": values},
    }


_MEASURES = {"vectors": _compare_vectors, "images": _compare_images}
"""By the measure that a kind names."""
