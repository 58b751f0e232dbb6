"""Converts texts and chats to the model's token ids, with its tokenizer only."""

from collections.abc import Sequence
from itertools import chain, islice
from typing import Any


def encode_samples(
    samples: Sequence[Any], tokenizer: Any, count: int, length: int
) -> list[list[int]]:
    """`count` rows of `length` ids at most; fewer when the texts end.

    A sample that is longer continues in the next row, so that few texts are enough for many rows.
    """
    rows: list[list[int]] = []
    for sample in samples:
        ids = _ids(sample, tokenizer)
        for start in range(0, len(ids), length):
            row = ids[start : start + length]
            # one token predicts nothing that could be compared
            if len(row) > 1:
                rows.append(row)
            if len(rows) == count:
                return rows
    return rows


def pack_samples(
    samples: Sequence[Any], tokenizer: Any, count: int, length: int
) -> list[list[int]]:
    """`count` rows of `length` ids, one sample behind the other; fewer when the texts end.

    Calibration needs many tokens, and a row may begin in the middle of a text.
    """
    ids = chain.from_iterable(_ids(sample, tokenizer) for sample in samples)
    rows = [list(islice(ids, length)) for _ in range(count)]
    return [row for row in rows if len(row) > 1]


def _ids(sample: Any, tokenizer: Any) -> list[int]:
    if isinstance(sample, str):
        return list(tokenizer(sample)["input_ids"])
    if tokenizer.chat_template is None:
        return list(tokenizer("\n".join(str(m["content"]) for m in sample))["input_ids"])
    text = tokenizer.apply_chat_template(sample, tokenize=False)
    # templates write the beginning of text themselves
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
