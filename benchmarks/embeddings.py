"""The embedding path against onnxruntime called directly in one process: same graph, same texts.

The peer tokenizes and runs the graph on all cores: text by text, and in length-sorted batches of
16. Ours has 16 requests of one text in flight, through the gateway's HTTP API.

The second peer knows all texts beforehand and sorts all 256 by length, so it computes almost no
padding. Among 16 texts in flight a batch has 8, while the other 8 are computed: in the cheapest
runs (`encoder.grouping`) they cost 1.22 times as many tokens as the peer's batches, so that 0.82 of
its speed is the limit, and 0.86 with batches of 16. HTTP, tokenizing, gRPC and the client of the
measurement share the two cores with the graph; they take the rest.
"""

import asyncio
import time
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.loopback import run_load
from benchmarks.pairs import Ratio, compare

WORDS = [
    "the",
    "of",
    "model",
    "server",
    "tensor",
    "queue",
    "batch",
    "ensemble",
    "request",
    "stream",
    "vector",
    "cat",
    "river",
    "seven",
]


TEXTS = 256


class Peer(Protocol):
    """What is measured beside the gateway."""

    def texts_per_s(self, texts: list[str], batch: int) -> float: ...


def measure(
    port: int, model: str, repository: Path, rounds: int, direct: Peer | None = None
) -> list[Ratio]:
    """Ratios of texts per second, ours with 16 in flight over direct calls."""
    texts = make_texts(TEXTS)
    direct = direct or Direct(*places(repository, model))

    def ours() -> dict[str, float]:
        bodies = [{"model": model, "input": text} for text in texts]
        _, wall_s = asyncio.run(run_load(port, "/v1/embeddings", bodies, 16))
        return {"": len(texts) / wall_s}

    ratios = []
    for batch in (1, 16):
        name = f"texts/s, 16 in flight over direct onnxruntime, batch {batch}"

        def named_ours(name: str = name) -> dict[str, float]:
            return {name: ours()[""]}

        def peer(name: str = name, batch: int = batch) -> dict[str, float]:
            return {name: direct.texts_per_s(texts, batch)}

        ratios += compare(named_ours, peer, rounds)
    return ratios


def places(repository: Path, model: str) -> tuple[Path, Path]:
    """The folders of the graph and of the tokenizer."""
    return repository / f"{model}.encoder" / "1", repository / f"{model}.tokenize" / "1"


def make_texts(count: int) -> list[str]:
    """Texts of 4 to 40 words, the same at every run."""
    random = np.random.default_rng(7)
    return [" ".join(random.choice(WORDS, random.integers(4, 41))) for _ in range(count)]


class Direct:
    """onnxruntime and tokenizers in this process, with onnxruntime's own defaults."""

    def __init__(self, encoder: Path, tokenizer: Path, *, cuda: bool = False) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        if cuda:
            onnxruntime.preload_dlls()
        self._session = onnxruntime.InferenceSession(
            str(encoder / "model.onnx"),
            providers=["CUDAExecutionProvider"] if cuda else ["CPUExecutionProvider"],
        )
        self._tokenizer = Tokenizer.from_file(str(tokenizer / "tokenizer" / "tokenizer.json"))
        self._tokenizer.no_padding()

    def texts_per_s(self, texts: list[str], batch: int) -> float:
        """Tokenizes and encodes all texts, `batch` at a time, sorted by length when batched."""
        start = time.perf_counter()
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        if batch > 1:
            encoded.sort(key=len)
        for first in range(0, len(encoded), batch):
            self._run(encoded[first : first + batch])
        return len(texts) / (time.perf_counter() - start)

    def _run(self, batch: list[list[int]]) -> None:
        length = max(map(len, batch))
        ids = np.zeros((len(batch), length), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        self._session.run(None, {"input_ids": ids, "attention_mask": mask})
