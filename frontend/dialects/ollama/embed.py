"""`/api/embed` and the older `/api/embeddings`. Pure."""

from dataclasses import dataclass

import numpy as np
import orjson

from frontend.dialects.fields import Fields
from frontend.dialects.ollama.options import Options
from frontend.domain.models import Model
from frontend.domain.vectors import Embedding, Vectors
from frontend.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class EmbedCall:
    """A parsed request; without texts it only asks whether the model is there."""

    model: str
    embedding: Embedding
    dimensions: int | None
    options: Options
    single: bool


def parse_embed(body: object, max_inputs: int, *, single: bool) -> EmbedCall:
    """`single`: the older route. Raises InvalidRequest."""
    fields = Fields(body)
    model = fields.text("model") or fields.text("name")
    if not model:
        raise fields.refuse("model", "is required")
    if single:
        texts = [text] if (text := fields.text("prompt")) else []
    else:
        texts = fields.texts("input", max_inputs) or []
    truncate = fields.boolean("truncate")
    dimensions = fields.integer("dimensions", 1)
    options = Options(fields.inner("options"))
    fields.leave()
    return EmbedCall(model, Embedding(texts, truncate is not False), dimensions, options, single)


def check_dimensions(call: EmbedCall, model: Model) -> None:
    """Raises InvalidRequest when the model has no vectors of the length that is asked for."""
    if call.dimensions not in (None, model.dimensions, *model.matryoshka):
        raise InvalidRequest(
            f"'dimensions' is {call.dimensions}; this model's vectors have {model.dimensions}",
            param="dimensions",
        )


def render_embed(call: EmbedCall, vectors: Vectors | None, times_ns: tuple[int, int]) -> bytes:
    """`times_ns`: in all, and until the request was let in."""
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
