"""Pads rows of token ids of different lengths to arrays for a graph."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from python_backends.triton import Array


class Row(NamedTuple):
    """One text or pair: its ids, and for each id the segment (0 or 1) that it belongs to."""

    ids: Sequence[int]
    types: Sequence[int] = ()


def pad(
    rows: Sequence[Row], multiple: int = 1, *, most: int | None = None, segments: bool = False
) -> dict[str, Array]:
    """Pads rows with 0 to the length of the longest, rounded up to `multiple`; the mask is 0 there.

    The length is at most `most`: a model may have no positions beyond its context length.
    """
    lengths = np.array([len(row.ids) for row in rows], dtype=np.int64)
    longest = max(1, int(lengths.max()))
    width = -(-longest // multiple) * multiple
    if most is not None:
        width = max(longest, min(width, most))
    arrays = {
        "input_ids": _fill([row.ids for row in rows], width),
        "attention_mask": (np.arange(width) < lengths[:, None]).astype(np.int64),
        "num_tokens": lengths.astype(np.int32).reshape(-1, 1),
    }
    if segments:
        arrays["token_type_ids"] = _fill([row.types for row in rows], width)
    return arrays


def _fill(rows: Sequence[Sequence[int]], width: int) -> Array:
    filled = np.zeros((len(rows), width), dtype=np.int64)
    for row, target in zip(rows, filled, strict=True):
        target[: len(row)] = row
    return filled
