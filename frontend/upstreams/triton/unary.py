"""Embeddings, scores and images: one unary call each, in the tensors of the contract.

Knows the tensors' names and types, not how they travel. A call is (unique id, seconds it may take).
"""

from tritonclient.grpc import service_pb2

from frontend.domain.generation import Generation
from frontend.domain.images import Drawing, Drawn
from frontend.domain.models import Model
from frontend.domain.vectors import Embedding, Ranking, Scores, Vectors
from frontend.errors import BackendFailed, ContextOverflow
from frontend.upstreams.triton.client import Triton
from frontend.upstreams.triton.contract import write_prompt
from frontend.upstreams.triton.tensors import add_json, add_numbers, add_texts, output, unpack_bytes

Call = tuple[str, float]
_END_MARKS = 8  # more than any tokenizer puts behind a text

_NUMBERS = (
    ("steps", "INT32"),
    ("guidance", "FP32"),
    ("width", "INT32"),
    ("height", "INT32"),
    ("seed", "INT64"),
    ("stop_after", "INT32"),
)


async def embed(triton: Triton, model: Model, embedding: Embedding, call: Call) -> Vectors:
    """The vectors of at most `model.max_batch` texts. Raises GatewayError."""
    texts = embedding.texts
    request = service_pb2.ModelInferRequest(model_name=model.name, id=call[0])
    add_texts(request, "text", texts, [len(texts), 1])
    if embedding.ids is not None:
        rows = _bounded(embedding, model)
        width = max(map(len, rows))
        flat = [one for row in rows for one in (*row, *[-1] * (width - len(row)))]
        add_numbers(request, "token_ids", "INT32", flat, [len(rows), width])
    if embedding.truncate:
        add_numbers(request, "truncate", "BOOL", [True] * len(texts), [len(texts), 1])
    answer = await triton.infer(request, call[1])
    raw, counts = output(answer, "embedding"), output(answer, "num_tokens")
    if len(raw) % (4 * len(texts)) or len(counts) != 4 * len(texts):
        raise BackendFailed("the model answered with another number of vectors than texts")
    return Vectors(
        raw,
        len(texts),
        len(raw) // (4 * len(texts)),
        sum(memoryview(counts).cast("i")),
        model.normalized,
    )


async def count_tokens(triton: Triton, step: str, generation: Generation, call: Call) -> int:
    """Tokens of a prompt, as its model's first step makes them. Raises GatewayError."""
    request = service_pb2.ModelInferRequest(model_name=step, id=call[0])
    add_json(request, "prompt", write_prompt(generation))
    return len(output(await triton.infer(request, call[1]), "token_ids")) // 4


def _bounded(embedding: Embedding, model: Model) -> list[list[int]]:
    """Rows no longer than what the model reads: a tensor has the width of its longest row.

    Where cutting was asked for, the model does it; what it needs is the head, and the end marks.
    """
    most = model.context_length or 8192
    rows = embedding.ids or []
    for number, row in enumerate(rows):
        if len(row) > most and not embedding.truncate:
            raise ContextOverflow(
                f"input {number} has {len(row)} tokens and the model takes {most}; shorten it or"
                " ask for truncation",
                param="input",
                limit=most,
                prompt_tokens=len(row),
            )
    return [row if len(row) <= most else row[:most] + row[-_END_MARKS:] for row in rows]


async def rank(triton: Triton, model: Model, ranking: Ranking, call: Call) -> Scores:
    """The scores of at most `model.max_batch` pairs. Raises GatewayError."""
    shape = [len(ranking.documents), 1]
    request = service_pb2.ModelInferRequest(model_name=model.name, id=call[0])
    add_texts(request, "query", ranking.queries, shape)
    add_texts(request, "document", ranking.documents, shape)
    if ranking.truncate:
        add_numbers(request, "truncate", "BOOL", [True] * shape[0], shape)
    answer = await triton.infer(request, call[1])
    scores, counts = output(answer, "score"), output(answer, "num_tokens")
    if len(scores) != 4 * shape[0] or len(counts) != 4 * shape[0]:
        raise BackendFailed("the model answered with another number of scores than pairs")
    return Scores(list(memoryview(scores).cast("f")), sum(memoryview(counts).cast("i")))


async def draw(triton: Triton, model: Model, drawing: Drawing, call: Call) -> Drawn:
    """Raises GatewayError."""
    request = service_pb2.ModelInferRequest(model_name=model.name, id=call[0])
    add_texts(request, "prompt", [drawing.prompt], [1])
    if drawing.negative_prompt is not None:
        add_texts(request, "negative_prompt", [drawing.negative_prompt], [1])
    for name, datatype in _NUMBERS:
        if (value := getattr(drawing, name)) is not None:
            add_numbers(request, name, datatype, [value], [1])
    add_numbers(request, "count", "INT32", [drawing.count], [1])
    answer = await triton.infer(request, call[1])
    images = unpack_bytes(output(answer, "image"))
    if len(images) != drawing.count:
        raise BackendFailed(f"the model drew {len(images)} images instead of {drawing.count}")
    counted = any(tensor.name == "num_tokens" for tensor in answer.outputs)
    tokens = sum(memoryview(output(answer, "num_tokens")).cast("i")) if counted else 0
    return Drawn(images, tokens)
