"""Compares vectors or images of a quantized graph with those of its source.

Runs in the process of `graph_worker`.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from toolkit.convert.images import draw, psnr
from toolkit.quantize.events import Events, Job

Array = npt.NDArray[Any]
_ROUNDS = 3
_BATCH = 16
_NEIGHBOURS = 5
_LENGTH = 256
_PROMPTS = ("a red house", "a yellow face", "a green tree")


def encoder_of(place: Path, context_length: int) -> Callable[[Sequence[str]], dict[str, Array]]:
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


def session_of(place: Path) -> Any:
    """The encoder of a converted folder, on one thread. Raises what onnxruntime raises."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    file = str(place / "encoder" / "model.onnx")
    providers = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(file, options, providers=providers)


def _compare_vectors(source: Path, place: Path, job: Job, events: Events) -> Job:
    """Cosines, the order of pairs, neighbours, and sentences/s in turns on one thread."""
    texts = _sentences(job["evaluation"])
    encode = encoder_of(place, job["context_length"])
    batches = [encode(texts[n : n + _BATCH]) for n in range(0, len(texts), _BATCH)]
    sessions = {"before": session_of(source), "after": session_of(place)}
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


def _sentences(passages: Sequence[str]) -> list[str]:
    """The passages' sentences, and the passages themselves: short and long texts."""
    sentences = [part.strip() for text in passages for part in text.replace("\n", " ").split(". ")]
    # by length: batches of equal lengths have little padding to compute
    return sorted({text for text in [*sentences, *passages] if len(text) > 8}, key=len)


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


MEASURES = {"vectors": _compare_vectors, "images": _compare_images}
"""By the measure that a kind names."""
