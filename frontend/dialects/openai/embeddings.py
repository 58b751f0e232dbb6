"""`POST /v1/embeddings`: texts → vectors as floats or base64, the same bits either way. Pure."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from frontend.dialects.fields import Fields, is_token_ids
from frontend.dialects.openai.sampling import read_identity
from frontend.domain.models import Input, Model
from frontend.domain.vectors import Embedding, Vectors
from frontend.errors import InvalidRequest

_WANTED = "must be a string, a list of strings, a list of token ids or a list of such lists"


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
    inputs = _inputs(fields, max_inputs)
    encoding = fields.choice("encoding_format", ("float", "base64"))
    truncate = fields.integer("truncate_prompt_tokens", -1, -1) is not None
    dimensions = fields.integer("dimensions", 1)
    user = read_identity(fields)
    fields.finish()
    if isinstance(inputs[0], str):
        embedding = Embedding(inputs, truncate)
    else:
        embedding = Embedding.of_ids(inputs, truncate)
    return EmbeddingCall(model, embedding, encoding == "base64", dimensions, user)


def check_dimensions(asked: int | None, model: Model) -> None:
    """Raises InvalidRequest when the model has no vectors of the length that is asked for."""
    if asked in (None, model.dimensions, *model.matryoshka):
        return
    known = ", ".join(map(str, sorted(model.matryoshka)))
    said = f"it can also be {known}" if known else "it was not trained for shorter ones"
    raise InvalidRequest(
        f"'dimensions' is {asked}; this model's vectors have {model.dimensions}, and {said}",
        param="dimensions",
        code="unsupported_parameter",
    )


def check_ids(embedding: Embedding, model: Model) -> None:
    """Raises InvalidRequest when the model takes text alone."""
    if embedding.ids is not None and Input.TOKEN_IDS not in model.accepts:
        raise InvalidRequest(
            f"the model '{model.name}' takes no token ids; send text "
            "(LangChain: check_embedding_ctx_length=False)",
            param="input",
            code="unsupported_input",
        )


def _inputs(fields: Fields, most: int) -> list[Any]:
    """Texts, or lists of token ids: never both in one request."""
    given = fields.required("input")
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not given:
        raise fields.refuse("input", _WANTED)
    if type(given[0]) is int:
        given = [given]
    if len(given) > most:
        raise fields.refuse("input", f"has {len(given)} entries, at most {most} are allowed")
    if all(isinstance(one, str) for one in given):
        if "" in given:
            place = f"input[{given.index('')}]" if len(given) > 1 else "input"
            raise InvalidRequest(f"'{place}' is an empty string", param=place)
    else:
        for index, one in enumerate(given):
            if not is_token_ids(one) or not one:
                place = f"input[{index}]" if len(given) > 1 else "input"
                raise InvalidRequest(
                    f"'{place}' must be a text, or a list of token ids that is not empty, "
                    "and all inputs of a request must be of one kind",
                    param="input",
                )
    return given


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
