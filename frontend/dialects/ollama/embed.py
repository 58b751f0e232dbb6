"""`/api/embed` and the older `/api/embeddings`. Pure."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import orjson

from frontend.dialects.declare import Positive, about
from frontend.dialects.ollama.models import NameBody, name_of
from frontend.dialects.ollama.options import (
    KEEP_ALIVE,
    Options,
    OptionsBody,
    make_options,
    parse_keep_alive,
)
from frontend.dialects.read import listed, read
from frontend.dialects.refusal import check_count
from frontend.domain.models import Model
from frontend.domain.vectors import Embedding, Vectors
from frontend.errors import InvalidRequest


class _Embed(NameBody, kw_only=True):
    """The fields that both requests have."""

    truncate: Annotated[
        bool | None, about("Cut texts that exceed the model's context. Default: true.")
    ] = None
    dimensions: Annotated[
        Positive | None, about("The length of the vectors, if the model supports others.")
    ] = None
    options: Annotated[OptionsBody | None, about("Options of the model.")] = None
    keep_alive: Annotated[int | float | str | None, about(KEEP_ALIVE, must_be="a duration")] = None


class EmbedBody(_Embed, kw_only=True):
    """Texts to be embedded."""

    input: Annotated[str | list[str] | None, about("A text or several.")] = None


class EmbeddingsBody(_Embed, kw_only=True):
    """A text to be embedded."""

    prompt: Annotated[str | None, about("The text.")] = None


@dataclass(frozen=True, slots=True)
class EmbedCall:
    """A parsed request; without texts it only checks that the model is available."""

    model: str
    embedding: Embedding
    dimensions: int | None
    options: Options
    single: bool


def parse_embed(body: object, max_inputs: int, *, single: bool) -> EmbedCall:
    """Parses a body of `/api/embed`, or with `single` of the older `/api/embeddings`. Raises
    InvalidRequest, naming the field, for a value that is not valid."""
    if single:
        given: _Embed = (one := read(EmbeddingsBody, body))
        texts = [one.prompt] if one.prompt else []
    else:
        given = (several := read(EmbedBody, body))
        texts = listed(several.input)
        check_count("input", texts, max_inputs)
    # unknown options are not in the declared object, and get a warning
    raw = body.get("options") if isinstance(body, dict) else None
    options = make_options(given.options, raw)
    options.keep_s = parse_keep_alive(given.keep_alive)
    embedding = Embedding(texts, given.truncate is not False)
    return EmbedCall(name_of(given), embedding, given.dimensions, options, single)


def check_dimensions(call: EmbedCall, model: Model) -> None:
    """Raises InvalidRequest if the model does not support the requested vector length."""
    if call.dimensions not in (None, model.dimensions, *model.matryoshka):
        raise InvalidRequest(
            f"'dimensions' is {call.dimensions}; this model's vectors have {model.dimensions}",
            param="dimensions",
        )


def render_embed(call: EmbedCall, vectors: Vectors | None, times_ns: tuple[int, int]) -> bytes:
    """`times_ns`: the total time, and the time until the request started."""
    rows: list[object] = []
    if vectors is not None:
        rows = list(np.frombuffer(vectors.raw, dtype="<f4").reshape(-1, vectors.dimensions))
    if call.single:
        body: dict[str, object] = {"embedding": rows[0] if rows else []}
    else:
        body = {"model": call.model, "embeddings": rows}
        body |= {"total_duration": times_ns[0], "load_duration": times_ns[1]}
        body["prompt_eval_count"] = 0 if vectors is None else vectors.prompt_tokens
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
