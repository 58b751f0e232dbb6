"""Vectors of embedding models whose tensors the operator names: texts or token ids in, one vector
for each text out. Pooling and length 1 are made here where the model does not.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from frontend.domain.upstreams import TensorNames
from frontend.domain.vectors import Embedding, Vectors
from frontend.errors import BackendFailed, ContextOverflow
from frontend.upstreams.protocol import Call
from frontend.upstreams.triton.connection import Connection
from frontend.upstreams.triton.plain.configs import Plain
from frontend.upstreams.triton.plain.tokens import Tokens
from frontend.upstreams.triton.tensors import add_numbers, add_texts

_ROWS = 32
"""Texts of one call to a model that sets no bound of its own."""
_FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
# `numpy.typing` is not in the gateway's image
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Embedder:
    """One model by its name in Triton. `most`: texts of one call."""

    name: str
    plain: Plain
    most: int
    tokens: Tokens
    context_length: int | None = None

    async def embed(self, connection: Connection, embedding: Embedding, call: Call) -> Vectors:
        """The vectors of all texts, in order. Raises GatewayError if Triton refuses or fails."""
        names = self.plain.tensors
        assert names is not None
        size = min(self.most, _ROWS) if self.plain.rows else 1
        rows, ids = list[Floats](), embedding.ids
        if names.ids is not None and ids is None:
            ids = await asyncio.to_thread(self.tokens.encode, embedding.texts)
        if ids is not None:
            ids = [self._bounded(number, one, embedding) for number, one in enumerate(ids)]
            counts = tuple(map(len, ids))
        else:
            counts = await asyncio.to_thread(lambda: tuple(map(self.tokens.count, embedding.texts)))
        for number, start in enumerate(range(0, len(embedding.texts), size)):
            request = service_pb2.ModelInferRequest(
                model_name=self.name, model_version=self.plain.version, id=f"{call.id}-{number}"
            )
            part = slice(start, start + size)
            mask = self._write(request, names, embedding.texts[part], ids[part] if ids else None)
            answer = await connection.infer(request, call)
            rows.append(_read(answer, names, len(embedding.texts[part]), mask))
        vectors = np.concatenate(rows)
        if names.normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        raw = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
        width = vectors.shape[1]
        estimated = ids is None and not self.tokens.exact
        return Vectors(raw, len(vectors), width, sum(counts), names.normalize, counts, estimated)

    def _bounded(self, number: int, ids: list[int], embedding: Embedding) -> list[int]:
        most = self.context_length
        if most is None or len(ids) <= most:
            return ids
        if embedding.truncate:
            return [*ids[: most - 1], ids[-1]]  # the mark at the end stays
        raise ContextOverflow(
            f"input {number} has {len(ids)} tokens, more than the model's maximum of {most};"
            " shorten it or request truncation",
            param="input",
            limit=most,
            prompt_tokens=len(ids),
        )

    def _write(
        self,
        request: service_pb2.ModelInferRequest,
        names: TensorNames,
        texts: list[str],
        ids: list[list[int]] | None,
    ) -> Floats:
        """Adds the inputs. The mask of the tokens, [texts, tokens]; empty for texts."""
        if ids is None:
            assert names.text is not None
            add_texts(
                request, names.text, texts, [len(texts), 1] if self.plain.column else [len(texts)]
            )
            return np.zeros((0, 0), dtype=np.float32)
        width = max(1, *map(len, ids)) if len(ids) > 1 else max(1, len(ids[0]))
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in ids]
        padded = [[*row, *[0] * (width - len(row))] for row in ids]
        assert names.ids is not None
        shape = [len(ids), width] if self.plain.rows else [width]
        for name, table in ((names.ids, padded), (names.mask, mask), (names.types, None)):
            if name is not None:
                flat = (
                    [0] * (len(ids) * width) if table is None else [x for row in table for x in row]
                )
                add_numbers(request, name, self.plain.inputs[name], flat, shape)
        return np.asarray(mask, dtype=np.float32)


def _read(
    answer: service_pb2.ModelInferResponse, names: TensorNames, count: int, mask: Floats
) -> Floats:
    for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=False):
        if tensor.name == names.vector and tensor.datatype in _FLOATS:
            values = np.frombuffer(raw, dtype=_FLOATS[tensor.datatype]).astype(np.float32)
            return _pooled(values, [*tensor.shape], names, count, mask)
    raise BackendFailed(f"the model's answer has no output '{names.vector}' of numbers")


def _pooled(
    values: Floats, shape: list[int], names: TensorNames, count: int, mask: Floats
) -> Floats:
    if names.pooling == "none":
        if not count or values.size == 0 or values.size % count:
            raise BackendFailed("the model returned a different number of vectors than texts")
        if mask.size and values.size == mask.size * shape[-1] and mask.shape[1] > 1:
            raise BackendFailed("the model returned a vector for each token; set 'pooling'")
        return values.reshape(count, -1)
    if not mask.size or values.size != mask.size * shape[-1]:
        raise BackendFailed("the model did not return one vector for each token")
    states = values.reshape(*mask.shape, shape[-1])
    if names.pooling == "cls":
        return states[:, 0, :]
    weights = mask[:, :, None]
    pooled: Floats = (states * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    return pooled
