"""`POST /v1/embeddings`: texts → vectors as floats or base64, the same bits either way. Pure."""

import base64
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from msgspec import Meta

from frontend.dialects.declare import Positive, TokenIdList, about
from frontend.dialects.openai.identity import Identity, check_model
from frontend.dialects.read import is_token_ids, read
from frontend.dialects.refusal import check_count, refuse
from frontend.domain.models import Input, Model
from frontend.domain.vectors import Embedding, Vectors
from frontend.errors import InvalidRequest

_INPUT = "must be a string, a list of strings, a list of token ids or a list of such lists"
_Inputs = str | Annotated[list[Any], Meta(min_length=1)]
_Cut = Annotated[int, Meta(ge=-1, le=-1)]


class EmbeddingBody(Identity, kw_only=True):
    """Texts to be embedded."""

    input: Annotated[
        _Inputs,
        about(
            "Text, token ids, or a list of either.",
            says=_INPUT,
            shown_as=(str, list[str], TokenIdList, list[TokenIdList]),
        ),
    ]
    encoding_format: Annotated[
        Literal["float", "base64"] | None, about("The encoding of vectors. Default: float.")
    ] = None
    truncate_prompt_tokens: Annotated[
        _Cut | None, about("-1: cut texts that exceed the model's context.")
    ] = None
    dimensions: Annotated[
        Positive | None, about("The length of the vectors, if the model supports others.")
    ] = None


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
    given = read(EmbeddingBody, body)
    check_model(given)
    inputs = _inputs(given.input, max_inputs)
    truncate = given.truncate_prompt_tokens is not None
    if isinstance(inputs[0], str):
        embedding = Embedding(inputs, truncate)
    else:
        embedding = Embedding.of_ids(inputs, truncate)
    as_base64 = given.encoding_format == "base64"
    return EmbeddingCall(given.model, embedding, as_base64, given.dimensions, given.user)


def check_dimensions(asked: int | None, model: Model) -> None:
    """Raises InvalidRequest if the model does not support the requested vector length."""
    if asked in (None, model.dimensions, *model.matryoshka):
        return
    known = ", ".join(map(str, sorted(model.matryoshka)))
    others = f"it can also be {known}" if known else "it was not trained for shorter ones"
    raise InvalidRequest(
        f"'dimensions' is {asked}; this model's vectors have {model.dimensions}, and {others}",
        param="dimensions",
        code="unsupported_parameter",
    )


def check_ids(embedding: Embedding, model: Model) -> None:
    """Raises InvalidRequest if the model only accepts text."""
    if embedding.ids is not None and Input.TOKEN_IDS not in model.accepts:
        raise InvalidRequest(
            f"the model '{model.name}' does not accept token ids; send text "
            "(LangChain: check_embedding_ctx_length=False)",
            param="input",
            code="unsupported_input",
        )


def _inputs(given: str | list[Any], most: int) -> list[Any]:
    """Texts, or lists of token ids: never both in one request."""
    # the first entry decides: a list of numbers is one text
    if isinstance(given, str) or type(given[0]) is int:
        given = [given]
    check_count("input", given, most)
    if all(isinstance(one, str) for one in given):
        # OpenAI's API refuses it, too
        if "" in given:
            raise refuse(_place(given, given.index("")), "is an empty string")
        return given
    for index, one in enumerate(given):
        if not is_token_ids(one) or not one:
            raise InvalidRequest(
                f"'{_place(given, index)}' must be a text, or a list of token ids that is not "
                "empty, and all inputs of a request must be of one kind",
                param="input",
            )
    return given


def _place(inputs: list[Any], index: int) -> str:
    return f"input[{index}]" if len(inputs) > 1 else "input"


def render_embedding(call: EmbeddingCall, vectors: Vectors, model: str) -> bytes:
    """The response body."""
    size = vectors.dimensions * 4
    # openai-python's default format
    if call.as_base64:
        view = memoryview(vectors.raw)
        shown: list[object] = [
            base64.b64encode(view[start : start + size]).decode()
            for start in range(0, len(view), size)
        ]
    else:
        matrix = np.frombuffer(vectors.raw, dtype="<f4").reshape(-1, vectors.dimensions)
        # orjson writes NumPy's rows without a Python object for each number
        shown = list(matrix)
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(shown)
    ]
    usage = {"prompt_tokens": vectors.prompt_tokens, "total_tokens": vectors.prompt_tokens}
    body = {"object": "list", "data": data, "model": model, "usage": usage}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
