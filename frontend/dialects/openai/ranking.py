"""`/v1/rerank` in the shape of Jina, Cohere and vLLM, and `/v1/score` in vLLM's. Pure."""

import time
from dataclasses import dataclass
from typing import Any

import orjson

from frontend.dialects.fields import Fields
from frontend.dialects.openai.sampling import read_identity
from frontend.domain.vectors import Pairs, Scores


@dataclass(frozen=True, slots=True)
class RankCall:
    """A parsed request. `documents` are told with their scores when they are asked for."""

    model: str
    ranking: Pairs
    top: int
    with_documents: bool


def parse_rerank(body: object, most: int, *, with_documents: bool) -> RankCall:
    """`with_documents` is the route's default. Raises InvalidRequest naming the field."""
    fields = Fields(body)
    model = _model(fields)
    query = fields.text("query")
    if not query:
        raise fields.refuse("query", "is required", code="missing_required_parameter")
    documents = _documents(fields, most)
    top = fields.integer("top_n", 1)
    told = fields.boolean("return_documents")
    truncate = _truncate(fields)
    fields.only("rank_fields", (["text"],), "documents have one field, 'text'")
    read_identity(fields)
    fields.finish()
    return RankCall(
        model,
        Pairs([query] * len(documents), documents, truncate),
        min(top or len(documents), len(documents)),
        with_documents if told is None else told,
    )


def parse_score(body: object, most: int) -> RankCall:
    """One text with many, or two lists of equal length. Raises InvalidRequest."""
    fields = Fields(body)
    model = _model(fields)
    names = ("text_1", "text_2")
    for other in (("queries", "documents"), ("data_1", "data_2")):  # what vLLM also takes
        if fields.has(other[0]):
            names = other
    queries, documents = (fields.texts(name, most) for name in names)
    for name, texts in zip(names, (queries, documents), strict=True):
        if not texts:
            raise fields.refuse(name, "is required", code="missing_required_parameter")
    assert queries is not None
    assert documents is not None
    if len(queries) == 1:
        queries = queries * len(documents)
    if len(queries) != len(documents):
        raise fields.refuse(
            names[0],
            f"has {len(queries)} texts and '{names[1]}' {len(documents)}; send one or as many",
        )
    truncate = _truncate(fields)
    read_identity(fields)
    fields.finish()
    return RankCall(model, Pairs(queries, documents, truncate, names), len(documents), False)


def _model(fields: Fields) -> str:
    model = fields.text("model")
    if not model:
        raise fields.refuse("model", "is required", code="missing_required_parameter")
    return model


def _truncate(fields: Fields) -> bool:
    fields.integer("max_tokens_per_doc", 1)
    cohere = fields.choice("truncation", ("true", "false"))
    return fields.integer("truncate_prompt_tokens", -1, -1) is not None or cohere == "true"


def _documents(fields: Fields, most: int) -> list[str]:
    given = fields.required("documents")
    if not isinstance(given, list) or not given:
        raise fields.refuse("documents", "must be a non-empty list of texts")
    if len(given) > most:
        raise fields.refuse("documents", f"has {len(given)} entries, at most {most} are allowed")
    return [_document(fields, index, one) for index, one in enumerate(given)]


def _document(fields: Fields, index: int, given: Any) -> str:
    text = given.get("text") if isinstance(given, dict) else given
    if not isinstance(text, str):
        raise fields.refuse(f"documents[{index}]", "must be a text, or an object with a 'text'")
    return text


def render_rerank(call: RankCall, scores: Scores, answer_id: str, model: str) -> bytes:
    """Best first; equal ones in their order."""
    order = sorted(range(len(scores.values)), key=lambda index: -scores.values[index])
    results = []
    for index in order[: call.top]:
        result: dict[str, Any] = {"index": index, "relevance_score": scores.values[index]}
        if call.with_documents:
            result["document"] = {"text": call.ranking.documents[index]}
        results.append(result)
    tokens = scores.prompt_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    body = {"id": f"rerank-{answer_id}", "model": model, "usage": usage, "meta": meta}
    return orjson.dumps(body | {"results": results})


def render_score(scores: Scores, answer_id: str, model: str) -> bytes:
    """In input order."""
    data = [
        {"index": index, "object": "score", "score": value}
        for index, value in enumerate(scores.values)
    ]
    usage = {"prompt_tokens": scores.prompt_tokens, "total_tokens": scores.prompt_tokens}
    body = {"id": f"score-{answer_id}", "object": "list", "created": int(time.time())}
    return orjson.dumps(body | {"model": model, "data": data, "usage": usage})
