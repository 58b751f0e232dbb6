"""`POST /v1/embeddings`: texts → vectors as floats or base64, the same bits either way. Pure."""

import base64
from dataclasses import dataclass

import numpy as np
import orjson

from frontend.dialects.fields import Fields
from frontend.dialects.openai.sampling import read_identity
from frontend.domain import Embedding, Model, Vectors
from frontend.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """A parsed embeddings request."""

    model: str
    embedding: Embedding
    as_base64: bool
    dimensions: int | None
    user: str | None


def parse_embedding(body: object, max_inputs: int) -> EmbeddingCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    fields = Fields(body)
    model = fields.text("model")
    if not model:
        raise fields.refuse("model", "is required", code="missing_required_parameter")
    texts = _inputs(fields, max_inputs)
    encoding = fields.choice("encoding_format", ("float", "base64"))
    truncate = fields.integer("truncate_prompt_tokens", -1, -1) is not None
    dimensions = fields.integer("dimensions", 1)
    user = read_identity(fields)
    fields.finish()
    return EmbeddingCall(model, Embedding(texts, truncate), encoding == "base64", dimensions, user)


def check_dimensions(call: EmbeddingCall, model: Model) -> None:
    """Raises InvalidRequest when the model has no vectors of the length that is asked for."""
    if call.dimensions not in (None, model.dimensions):
        raise InvalidRequest(
            f"'dimensions' is {call.dimensions}; this model's vectors have {model.dimensions}, and "
            "it was not trained for shorter ones",
            param="dimensions",
            code="unsupported_parameter",
        )


def _inputs(fields: Fields, most: int) -> list[str]:
    given = fields.required("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise fields.refuse("input", "must be a string or a non-empty list of strings")
    if all(isinstance(one, int | list) and not isinstance(one, bool) for one in texts):
        raise fields.refuse(
            "input",
            "holds token ids, which only the tokenizer that made them understands; send text "
            "(LangChain: check_embedding_ctx_length=False)",
            code="unsupported_input",
        )
    if not all(isinstance(one, str) for one in texts):
        raise fields.refuse("input", "must be a string or a non-empty list of strings")
    if len(texts) > most:
        raise fields.refuse("input", f"has {len(texts)} entries, at most {most} are allowed")
    return texts


def render_embedding(call: EmbeddingCall, vectors: Vectors, model: str) -> bytes:
    """The response body."""
    size = vectors.dimensions * 4
    if call.as_base64:
        view = memoryview(vectors.raw)
        shown: list[object] = [
            base64.b64encode(view[start : start + size]).decode()
            for start in range(0, len(view), size)
        ]
    else:
        matrix = np.frombuffer(vectors.raw, dtype="<f4").reshape(-1, vectors.dimensions)
        shown = list(matrix)
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(shown)
    ]
    usage = {"prompt_tokens": vectors.prompt_tokens, "total_tokens": vectors.prompt_tokens}
    body = {"object": "list", "data": data, "model": model, "usage": usage}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
