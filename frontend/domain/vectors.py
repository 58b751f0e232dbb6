"""Texts to be embedded and pairs to be scored, with their results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Embedding:
    """Texts to be embedded, in order; `ids` are their tokens where the caller made them."""

    texts: list[str]
    truncate: bool = False
    ids: list[list[int]] | None = None

    @classmethod
    def of_ids(cls, ids: list[list[int]], truncate: bool) -> "Embedding":
        """Texts of which only the tokens are known."""
        return cls([""] * len(ids), truncate, ids)

    def split(self, size: int) -> "list[Embedding]":
        """The same texts in parts of at most `size`."""
        return [
            Embedding(
                self.texts[start : start + size],
                self.truncate,
                self.ids and self.ids[start : start + size],
            )
            for start in range(0, len(self.texts), size)
        ]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings in input order: `raw` is little-endian FP32 of shape [count, dimensions]."""

    raw: bytes
    count: int
    dimensions: int
    prompt_tokens: int
    normalized: bool = True
    counts: tuple[int, ...] = ()
    """Tokens of each text, where the server counts them one by one."""
    estimated: bool = False
    """The tokens are not counted by the server."""

    def split(self, sizes: Sequence[int]) -> "list[Vectors]":
        """The vectors of several requests by their numbers of texts; needs `counts`."""
        parts, start, width = list[Vectors](), 0, 4 * self.dimensions
        for size in sizes:
            end = start + size
            raw, counts = self.raw[start * width : end * width], self.counts[start:end]
            parts.append(
                replace(self, raw=raw, count=size, prompt_tokens=sum(counts), counts=counts)
            )
            start = end
        return parts

    @classmethod
    def join(cls, parts: "list[Vectors]") -> "Vectors":
        """The opposite of `Embedding.split`."""
        return cls(
            b"".join(part.raw for part in parts),
            sum(part.count for part in parts),
            parts[0].dimensions,
            sum(part.prompt_tokens for part in parts),
            parts[0].normalized,
            tuple(count for part in parts for count in part.counts),
            any(part.estimated for part in parts),
        )

    def cut(self, dimensions: int) -> "Vectors":
        """The first `dimensions` numbers of each vector (Kusupati et al. 2022, Matryoshka
        Representation Learning, §4), at length 1 again where the model's vectors have that."""
        if dimensions == self.dimensions:
            return self
        rows = np.frombuffer(self.raw, dtype="<f4").reshape(-1, self.dimensions)[:, :dimensions]
        if not self.normalized:
            raw = np.ascontiguousarray(rows).tobytes()
            return Vectors(raw, self.count, dimensions, self.prompt_tokens, normalized=False)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        # a vector of zeros stays one
        cut = np.ascontiguousarray(rows / np.maximum(norms, 1e-12), dtype="<f4")
        return Vectors(cut.tobytes(), self.count, dimensions, self.prompt_tokens)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a query and a document to be scored, in order."""

    queries: list[str]
    documents: list[str]
    truncate: bool = False
    params: tuple[str, str] = ("query", "documents")
    """The request's fields that they come from, for errors."""

    def split(self, size: int) -> "list[Pairs]":
        """The same pairs in parts of at most `size`."""
        return [
            replace(
                self,
                queries=self.queries[start : start + size],
                documents=self.documents[start : start + size],
            )
            for start in range(0, len(self.documents), size)
        ]


@dataclass(frozen=True, slots=True)
class Scores:
    """How well each document answers its query, 0…1, in input order."""

    values: list[float]
    prompt_tokens: int
