"""Embeddings, scores, images and token counts: unary calls, in the tensors of the contract.

Knows the tensors' names and types, not how they travel.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from tritonclient.grpc import service_pb2

from frontend.domain.generation import Generation, Tokenized
from frontend.domain.images import ImageRequest, ImageResult
from frontend.domain.models import Model
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.errors import BackendFailed, ContextOverflow
from frontend.upstreams.protocol import Call
from frontend.upstreams.triton.connection import Connection
from frontend.upstreams.triton.contract import write_prompt
from frontend.upstreams.triton.models import Served, new_request
from frontend.upstreams.triton.tensors import add_json, add_numbers, add_texts, output, unpack_bytes

T = TypeVar("T")
_PIPELINED = 4  # batches of one request in Triton at once: enough to keep it busy
_END_MARKS = 8  # more than any tokenizer puts behind a text

_NUMBERS = (
    ("steps", "INT32"),
    ("guidance", "FP32"),
    ("width", "INT32"),
    ("height", "INT32"),
    ("seed", "INT64"),
    ("stop_after", "INT32"),
)


async def embed(
    connection: Connection, served: Served, embedding: Embedding, call: Call
) -> Vectors:
    """The vectors of all texts, in order. Raises GatewayError if Triton refuses or fails."""
    batches = enumerate(embedding.split(served.max_batch))
    parts = await _all(
        _embed(connection, served, batch, _part(call, number)) for number, batch in batches
    )
    return Vectors.join(parts)


async def rerank(connection: Connection, served: Served, pairs: Pairs, call: Call) -> Scores:
    """The scores of all pairs, in order. Raises GatewayError if Triton refuses or fails."""
    batches = enumerate(pairs.split(served.max_batch))
    parts = await _all(
        _rerank(connection, served, batch, _part(call, number)) for number, batch in batches
    )
    values = [value for part in parts for value in part.values]
    return Scores(values, sum(part.prompt_tokens for part in parts))


async def count(connection: Connection, step: str, generation: Generation, call: Call) -> int:
    """Tokens of a prompt, as its model's first step makes them. Raises GatewayError if Triton
    refuses or fails."""
    request = service_pb2.ModelInferRequest(model_name=step, id=call.id)
    add_json(request, "prompt", write_prompt(generation))
    return len(output(await connection.infer(request, call), "token_ids")) // 4


async def tokenize(
    connection: Connection, step: str, generation: Generation, call: Call, *, strings: bool
) -> Tokenized:
    """Tokens of a prompt, which may fill the whole context. Raises GatewayError if Triton refuses
    or fails."""
    request = service_pb2.ModelInferRequest(model_name=step, id=call.id)
    shown = "strings" if strings else "ids"
    add_json(request, "prompt", {**write_prompt(generation), "tokenize": shown})
    answer = await connection.infer(request, call)
    ids = list(memoryview(output(answer, "token_ids")).cast("i"))
    if not strings:
        return Tokenized(ids)
    return Tokenized(ids, [one.decode() for one in unpack_bytes(output(answer, "text"))])


async def detokenize(connection: Connection, step: str, ids: list[int], call: Call) -> str:
    """The text of token ids, special tokens included. Raises GatewayError if Triton refuses or
    fails."""
    request = service_pb2.ModelInferRequest(model_name=step, id=call.id)
    add_json(request, "prompt", {"decode": ids})
    (text,) = unpack_bytes(output(await connection.infer(request, call), "text"))
    return text.decode()


def _part(call: Call, number: int) -> Call:
    return replace(call, id=f"{call.id}-{number}")


async def _embed(
    connection: Connection, served: Served, embedding: Embedding, call: Call
) -> Vectors:
    model = served.model
    texts = embedding.texts
    request = new_request(served, call.id)
    add_texts(request, "text", texts, [len(texts), 1])
    if embedding.ids is not None:
        rows = _bounded(embedding, model)
        width = max(map(len, rows))
        flat = [one for row in rows for one in (*row, *[-1] * (width - len(row)))]
        add_numbers(request, "token_ids", "INT32", flat, [len(rows), width])
    if embedding.truncate:
        add_numbers(request, "truncate", "BOOL", [True] * len(texts), [len(texts), 1])
    answer = await connection.infer(request, call)
    raw, counts = output(answer, "embedding"), output(answer, "num_tokens")
    # Triton passes on whatever shape a Python model returns
    if len(raw) % (4 * len(texts)) or len(counts) != 4 * len(texts):
        raise BackendFailed("the model returned a different number of vectors than texts")
    return Vectors(
        raw,
        len(texts),
        len(raw) // (4 * len(texts)),
        sum(tokens := tuple(memoryview(counts).cast("i"))),
        model.normalized,
        tokens,
    )


def _bounded(embedding: Embedding, model: Model) -> list[list[int]]:
    """Rows no longer than what the model reads: a tensor has the width of its longest row.

    Where cutting was asked for, the model does it; what it needs is the head, and the end marks.
    """
    most = model.context_length or 8192
    rows = embedding.ids or []
    for number, row in enumerate(rows):
        if len(row) > most and not embedding.truncate:
            raise ContextOverflow(
                f"input {number} has {len(row)} tokens, more than the model's maximum of {most};"
                " shorten it or request truncation",
                param="input",
                limit=most,
                prompt_tokens=len(row),
            )
    return [row if len(row) <= most else row[:most] + row[-_END_MARKS:] for row in rows]


async def _rerank(connection: Connection, served: Served, pairs: Pairs, call: Call) -> Scores:
    shape = [len(pairs.documents), 1]
    request = new_request(served, call.id)
    add_texts(request, "query", pairs.queries, shape)
    add_texts(request, "document", pairs.documents, shape)
    if pairs.truncate:
        add_numbers(request, "truncate", "BOOL", [True] * shape[0], shape)
    answer = await connection.infer(request, call)
    scores, counts = output(answer, "score"), output(answer, "num_tokens")
    if len(scores) != 4 * shape[0] or len(counts) != 4 * shape[0]:
        raise BackendFailed("the model returned a different number of scores than pairs")
    return Scores(list(memoryview(scores).cast("f")), sum(memoryview(counts).cast("i")))


async def draw(
    connection: Connection, served: Served, image: ImageRequest, call: Call
) -> ImageResult:
    """The images of one request. Raises GatewayError if Triton refuses or fails."""
    request = new_request(served, call.id)
    add_texts(request, "prompt", [image.prompt], [1])
    if image.negative_prompt is not None:
        add_texts(request, "negative_prompt", [image.negative_prompt], [1])
    for name, datatype in _NUMBERS:
        if (value := getattr(image, name)) is not None:
            add_numbers(request, name, datatype, [value], [1])
    add_numbers(request, "count", "INT32", [image.count], [1])
    answer = await connection.infer(request, call)
    images = unpack_bytes(output(answer, "image"))
    if len(images) != image.count:
        raise BackendFailed(f"the model generated {len(images)} images instead of {image.count}")
    counted = any(tensor.name == "num_tokens" for tensor in answer.outputs)
    tokens = sum(memoryview(output(answer, "num_tokens")).cast("i")) if counted else 0
    return ImageResult(images, tokens)


async def _all(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Every result in order, `_PIPELINED` calls at a time; the first failure cancels the others."""
    # one iterator for all workers, so that each takes the next call
    numbered, results = enumerate(calls), dict[int, T]()

    async def work() -> None:
        for number, call in numbered:
            results[number] = await call

    workers = [asyncio.create_task(work()) for _ in range(_PIPELINED)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return [results[number] for number in sorted(results)]
