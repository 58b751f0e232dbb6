"""Finds the maximum number of tokens of an encoder.

RoBERTa and related models number positions from the padding token's id on, so 130 positions are
128 tokens. Invariant: the source itself has computed a text of that length.
"""

from typing import Any

import torch

from toolkit.convert.limit import MOST_TRIED, longest
from toolkit.errors import ConvertError

_BEYOND_REASON = 10**6
"""Tokenizers without a limit of their own say 10³⁰."""
_DEFAULT = 512


def find_limit(body: Any, tokenizer_limit: int | None) -> int:
    """The longest row of ids, special ones included, that `body` and its tokenizer both take.

    Raises ConvertError when the model cannot read a single token.
    """
    claims = [limit for limit in (tokenizer_limit, _positions(body)) if limit]
    claimed = min((limit for limit in claims if 0 < limit < _BEYOND_REASON), default=_DEFAULT)
    tried = min(claimed, MOST_TRIED)
    runnable = longest(lambda length: _runs(body, length), tried)
    if runnable == 0:
        # a single token does not work either: raise with the model's own words
        _compute(body, 1)
    return claimed if runnable == tried else runnable


def _positions(body: Any) -> int | None:
    """Tokens with a position: fewer than positions where these begin after the padding's id."""
    known = getattr(body.config, "max_position_embeddings", None)
    for name, module in body.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings) - first
    return int(known) if known else None


def _runs(body: Any, length: int) -> bool:
    try:
        _compute(body, length)
    except ConvertError:
        return False
    return True


def _compute(body: Any, length: int) -> None:
    ids = torch.full((1, length), int(body.config.vocab_size) - 1)  # padding has no position
    try:
        with torch.inference_mode():
            body(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError) as error:
        raise ConvertError(f"the model cannot compute {length} tokens: {error}") from error
