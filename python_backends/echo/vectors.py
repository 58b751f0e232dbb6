"""Embeddings without a model: a unit vector that depends on the text's words alone.

Texts that share words are close, so that order and similarity can be tested.
"""

import hashlib

import numpy as np

from python_backends.errors import ContextOverflow, InvalidInput
from python_backends.triton import Array, Arrays, Settings, decode


def embed(arrays: Arrays, settings: Settings) -> dict[str, Array]:
    """`text` STRING [B, 1] -> `embedding` FP32 [B, dimensions], `num_tokens` INT32 [B, 1]."""
    dimensions = settings.number("dimensions", 8)
    limit = settings.number("context_length", 256)
    truncate = arrays.get("truncate")
    words = [decode(value, "text").split() for value in arrays["text"].reshape(-1)]
    if "token_ids" in arrays:
        words = [[str(i) for i in ids if i >= 0] for ids in arrays["token_ids"].tolist()]
        _check_ids(words)
    for row, row_words in enumerate(words):
        if len(row_words) > limit and not (truncate is not None and truncate.reshape(-1)[row]):
            raise ContextOverflow(
                f"input {row} has {len(row_words)} tokens and the model takes {limit}; shorten it",
                param="input",
                limit=limit,
                prompt_tokens=len(row_words),
            )
    words = [row_words[:limit] for row_words in words]
    vectors = np.stack([_vector(row_words, dimensions) for row_words in words])
    counts = np.array([[len(row_words)] for row_words in words], dtype=np.int32)
    return {"embedding": vectors, "num_tokens": counts}


def _check_ids(rows: list[list[str]]) -> None:
    """Raises InvalidInput for ids that are not in the vocabulary, the numbers below 1000."""
    for row, ids in enumerate(rows):
        if any(int(one) >= 1000 for one in ids):
            raise InvalidInput(
                f"input {row} contains token ids of another tokenizer; send text",
                code="invalid_token_ids",
                param="input",
            )


def _vector(words: list[str], dimensions: int) -> Array:
    # not zero: a text without words would have a norm of 0 and a vector of NaN
    total = np.full(dimensions, 1e-3, dtype=np.float64)
    for word in words:
        seed = int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:8], "big")
        total += np.random.default_rng(seed).standard_normal(dimensions)
    return (total / np.linalg.norm(total)).astype(np.float32)
