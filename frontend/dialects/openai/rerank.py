"""`/v1/rerank` in the shape of Jina, Cohere and vLLM, and `/v1/score` in vLLM's. Pure."""

import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from msgspec import Meta

from frontend.dialects.declare import Positive, about
from frontend.dialects.openai.identity import Identity, check_model
from frontend.dialects.read import listed, read
from frontend.dialects.refusal import check_count, refuse, require
from frontend.domain.vectors import Pairs, Scores

_Documents = Annotated[list[Any], Meta(min_length=1)]
_Cut = Annotated[int, Meta(ge=-1, le=-1)]
_TextField = Annotated[list[Literal["text"]], Meta(min_length=1, max_length=1)]


class _Compared(Identity, kw_only=True):
    """The fields that both requests have."""

    truncate_prompt_tokens: Annotated[
        _Cut | None, about("-1: cut texts that exceed the model's context.")
    ] = None
    truncation: Annotated[
        Literal["true", "false"] | None, about("Another name for truncate_prompt_tokens.")
    ] = None
    max_tokens_per_doc: Annotated[
        Positive | None, about("Accepted: texts are cut at the model's context length.")
    ] = None


class RerankBody(_Compared, kw_only=True):
    """Documents to be ordered by a query."""

    query: Annotated[str, about("The query.")]
    documents: Annotated[
        _Documents,
        about(
            "Texts, or objects with a 'text'.",
            says="must be a non-empty list of texts",
            shown_as=(list[str | dict[str, str]],),
        ),
    ]
    top_n: Annotated[Positive | None, about("The number of best results to return.")] = None
    return_documents: Annotated[
        bool | None, about("Whether the results contain the documents.")
    ] = None
    rank_fields: Annotated[
        _TextField | None,
        about("Only ['text'].", reason="documents have one field, 'text'"),
    ] = None


class ScoreBody(_Compared, kw_only=True):
    """Pairs of texts to be scored: one with many, or two lists of equal length."""

    queries: Annotated[str | list[str] | None, about("The texts on one side.")] = None
    documents: Annotated[str | list[str] | None, about("The texts to compare with.")] = None
    text_1: Annotated[str | list[str] | None, about("Another name for queries.")] = None
    text_2: Annotated[str | list[str] | None, about("Another name for documents.")] = None
    data_1: Annotated[str | list[str] | None, about("Another name for queries.")] = None
    data_2: Annotated[str | list[str] | None, about("Another name for documents.")] = None


@dataclass(frozen=True, slots=True)
class RerankCall:
    """A parsed request. `with_documents`: the answer has them beside their scores."""

    model: str
    pairs: Pairs
    top: int
    with_documents: bool


def parse_rerank(body: object, most: int, *, with_documents: bool) -> RerankCall:
    """`with_documents` is the route's default. Raises InvalidRequest naming the field."""
    given = read(RerankBody, body)
    check_model(given)
    if not given.query:
        raise require("query")
    check_count("documents", given.documents, most)
    documents = [_document(index, one) for index, one in enumerate(given.documents)]
    asked = given.return_documents
    return RerankCall(
        given.model,
        Pairs([given.query] * len(documents), documents, _truncates(given)),
        min(given.top_n or len(documents), len(documents)),
        with_documents if asked is None else asked,
    )


def parse_score(body: object, most: int) -> RerankCall:
    """Parses a request of `/v1/score`. Raises InvalidRequest that names the field."""
    given = read(ScoreBody, body)
    check_model(given)
    names = ("text_1", "text_2")
    for other in (("queries", "documents"), ("data_1", "data_2")):  # what vLLM also takes
        if any(getattr(given, name) is not None for name in other):
            names = other
    _check_names(given, names)
    queries, documents = (listed(getattr(given, name)) for name in names)
    for name, texts in zip(names, (queries, documents), strict=True):
        check_count(name, texts, most)
        if not texts:
            raise require(name)
    if len(queries) == 1:
        queries = queries * len(documents)
    if len(queries) != len(documents):
        raise refuse(
            names[0],
            f"has {len(queries)} texts and '{names[1]}' {len(documents)}; send one text"
            " or the same number",
        )
    pairs = Pairs(queries, documents, _truncates(given), names)
    return RerankCall(given.model, pairs, len(documents), False)


def _check_names(body: ScoreBody, names: tuple[str, str]) -> None:
    """Refuses a second pair of names."""
    for name in ("queries", "documents", "text_1", "text_2", "data_1", "data_2"):
        if name not in names and getattr(body, name) is not None:
            raise refuse(name, f"cannot be combined with '{names[0]}'; send one of them")


def _truncates(body: _Compared) -> bool:
    return body.truncate_prompt_tokens is not None or body.truncation == "true"


def _document(index: int, given: Any) -> str:
    text = given.get("text") if isinstance(given, dict) else given
    if not isinstance(text, str):
        raise refuse(f"documents[{index}]", "must be a text, or an object with a 'text'")
    return text


def render_rerank(call: RerankCall, scores: Scores, answer_id: str, model: str) -> bytes:
    """Renders the results, best first; equal scores in input order."""
    order = sorted(range(len(scores.values)), key=lambda index: -scores.values[index])
    results = []
    for index in order[: call.top]:
        result: dict[str, Any] = {"index": index, "relevance_score": scores.values[index]}
        if call.with_documents:
            result["document"] = {"text": call.pairs.documents[index]}
        results.append(result)
    tokens = scores.prompt_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    body = {"id": f"rerank-{answer_id}", "model": model, "usage": usage, "meta": meta}
    return orjson.dumps(body | {"results": results})


def render_score(scores: Scores, answer_id: str, model: str) -> bytes:
    """Renders the scores in input order."""
    data = [
        {"index": index, "object": "score", "score": value}
        for index, value in enumerate(scores.values)
    ]
    usage = {"prompt_tokens": scores.prompt_tokens, "total_tokens": scores.prompt_tokens}
    body = {"id": f"score-{answer_id}", "object": "list", "created": int(time.time())}
    return orjson.dumps(body | {"model": model, "data": data, "usage": usage})
