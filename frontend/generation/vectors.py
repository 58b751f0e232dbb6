"""The vectors of texts and the scores of pairs that a run infers, from the cache or an upstream."""

import operator
from dataclasses import replace
from typing import TYPE_CHECKING

from frontend.domain.models import Input
from frontend.domain.usage import Usage
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.generation import sizes
from frontend.generation.charge import expected_texts
from frontend.generation.counts import is_count_of
from frontend.generation.cover import most_text_tokens
from frontend.upstreams.placement import Place

if TYPE_CHECKING:
    from frontend.generation.run import Run


async def embed(run: "Run", embedding: Embedding) -> Vectors:
    """The vectors of all texts, in order."""
    run.suit(run.need(None, _accepts(embedding)))
    sizes.check_embedding(run.model, embedding, run.path.policy.max_text_bytes)
    if (cached := run.cached) is None:
        return await _embed(run, embedding)
    slot, vectors = await cached.vectors(embedding)
    if vectors is None:
        vectors = await _embed(run, embedding)
        if slot is not None:
            await cached.keep_vectors(slot, vectors)
    return vectors


async def rerank(run: "Run", pairs: Pairs) -> Scores:
    """The scores of all pairs, in order."""
    sizes.check_pairs(run.model, pairs, run.path.policy.max_text_bytes)
    if (cached := run.cached) is None:
        return await _rerank(run, pairs)
    slot, scores = await cached.scores(pairs)
    if scores is None:
        scores = await _rerank(run, pairs)
        if slot is not None:
            await cached.keep_scores(slot, scores)
    return scores


async def _embed(run: "Run", embedding: Embedding) -> Vectors:
    ids = sum(map(len, embedding.ids or ()))
    if run.cover is not None and run.cover.is_needed:
        most = most_text_tokens(embedding.texts, run.model.context_length, ids)
        await run.cover.tokens(most, len(embedding.texts) or 1)

    async def embed(place: Place) -> Vectors:
        run.start()
        vectors = await run.path.together.embed(place, embedding, run.request.user)
        place.step.used(Usage(vectors.prompt_tokens))
        return vectors

    need = run.need(None, _accepts(embedding), "embeddings")
    vectors = await run.call(embed, need, expected_texts(embedding.texts, ids))
    context = run.model.context_length
    if not is_count_of(vectors.prompt_tokens, embedding.texts, context, ids):
        counted = ids or sizes.estimate_texts(embedding.texts)
        vectors = replace(vectors, prompt_tokens=counted, estimated=embedding.ids is None)
    run.check_tokens(vectors.prompt_tokens)
    run.add(vectors.prompt_tokens, estimated=vectors.estimated)
    return vectors


def _accepts(embedding: Embedding) -> frozenset[Input]:
    return frozenset() if embedding.ids is None else frozenset({Input.TOKEN_IDS})


async def _rerank(run: "Run", pairs: Pairs) -> Scores:
    texts = [*map(operator.add, pairs.queries, pairs.documents)]
    if run.cover is not None and run.cover.is_needed:
        most = most_text_tokens(texts, run.model.context_length)
        await run.cover.tokens(most, len(pairs.documents))

    async def rerank(place: Place) -> Scores:
        run.start()
        scores = await place.upstream.rerank(place.model, pairs, place.call)
        place.step.used(Usage(scores.prompt_tokens))
        return scores

    scores = await run.call(rerank, run.need(operation="rerank"), expected_texts(texts))
    if estimated := not is_count_of(scores.prompt_tokens, texts, run.model.context_length):
        scores = replace(scores, prompt_tokens=sizes.estimate_texts(texts))
    run.check_tokens(scores.prompt_tokens)
    run.add(scores.prompt_tokens, estimated=estimated)
    return scores
