"""Token ids from a caller: accepted if this model's tokenizer could have made them, else refused.

Ids of another vocabulary would give meaningless vectors and no error, so ids must begin and end
with the tokenizer's special tokens ([CLS] … [SEP]). If a tokenizer adds none, decoding the ids and
encoding the text again must give the same ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from python_backends.errors import InvalidInput
from python_backends.triton import Array, Arrays

REMEDY = (
    "send text, or ids that this model's own tokenizer made"
    " (LangChain: check_embedding_ctx_length=False sends text)"
)


def given_rows(arrays: Arrays, count: int) -> list[list[int]]:
    """The ids of each row of `token_ids` INT32 [B, L]; a row of −1 alone is empty."""
    if "token_ids" not in arrays:
        return [[]] * count
    return [_row(row) for row in arrays["token_ids"]]


def _row(row: Array) -> list[int]:
    ids: list[int] = row[row >= 0].tolist()
    return ids


@dataclass(frozen=True, slots=True)
class Given:
    """The special tokens and the vocabulary size of a tokenizer, to check ids against."""

    tokenizer: Any
    first: list[int]
    last: list[int]
    size: int

    @classmethod
    def of(cls, tokenizer: Any) -> "Given":
        """Reads the special tokens that surround each text from the ids of one word."""
        word = tokenizer.encode("a")
        # one letter is enough: what is around it is around every text
        own = [place for place, special in enumerate(word.special_tokens_mask) if not special]
        start, end = (own[0], own[-1] + 1) if own else (len(word.ids), len(word.ids))
        size = tokenizer.get_vocab_size(with_added_tokens=True)
        return cls(tokenizer, word.ids[:start], word.ids[end:], size)

    def check(self, number: int, ids: Sequence[int]) -> None:
        """Raises InvalidInput for ids that cannot be this tokenizer's."""
        if (largest := max(ids)) >= self.size:
            raise _foreign(
                number, f"contains the token id {largest}, but this model has {self.size} ids"
            )
        end = len(ids) - len(self.last)
        if list(ids[: len(self.first)]) != self.first or list(ids[end:]) != self.last:
            shown = f"begin with {self.first}" if self.first else ""
            shown += " and " if self.first and self.last else ""
            shown += f"end with {self.last}" if self.last else ""
            raise _foreign(number, f"does not {shown}, as this model's token ids do")
        # a weak test, so it is the last resort: decoding may change spaces of valid ids too
        if not self.first and not self.last and not self._survives(ids):
            raise _foreign(number, "is not how this model's tokenizer writes that text")

    def _survives(self, ids: Sequence[int]) -> bool:
        text = self.tokenizer.decode(list(ids), skip_special_tokens=False)
        return list(self.tokenizer.encode(text).ids) == list(ids)


def _foreign(number: int, problem: str) -> InvalidInput:
    return InvalidInput(
        f"input {number} {problem}; {REMEDY}", code="invalid_token_ids", param="input"
    )
