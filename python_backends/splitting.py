"""Tokenizes long texts in pieces, and only as far as needed.

A tokenizer needs about a hundred times the size of a text in memory. A text is split only where the
characters around the split give the same ids in one piece as in two, so the ids are those of the
whole text, unless `_LONGEST` characters have no such place.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from python_backends.errors import ContextOverflow

Encode = Callable[[str], list[int]]

PIECE = 16_384
"""Characters of a text that is tokenized at once."""
_LONGEST = 131_072
_AROUND = 256  # characters that decide whether a cut is one, more than the longest token has
# of a window; a text without a place to cut would cost 3 encodings per character
_TRIES = 32
_BATCH = 131_072  # characters
_FILLER = 128  # characters for each token; words have about five


def check_bytes(text: str, most: int, param: str, tokens: int) -> None:
    """Raises ContextOverflow for a text of more than `most` bytes, the longest that fits the
    context of `tokens`; 0 means no limit."""
    # a character has at most 4 bytes, so shorter texts need not be encoded to be measured
    if most and len(text) > most // 4 and (size := len(text.encode(errors="replace"))) > most:
        raise ContextOverflow(
            f"'{param}' has {size} bytes of text, more than the model's maximum of {most};"
            " shorten it",
            param=param,
            limit=tokens,
        )


def encode_up_to(encode: Encode, text: str, most: int) -> list[int]:
    """The ids of `text`, without special tokens around them.

    When they are more than `most`, at least the first `most + 1` of them.
    """
    if len(text) <= PIECE:
        return encode(text)
    ids: list[int] = []
    for piece in pieces(encode, text):
        ids += encode(piece)
        if len(ids) > most:
            break
    return ids


def beginning(text: str, tokens: int) -> str:
    """The part of a text that is read when it is truncated at `tokens`: more than enough for them,
    unless nearly all of it is whitespace or one word."""
    return text[: tokens * _FILLER]


def head(encode: Encode, text: str, tokens: int) -> str:
    """The beginning of a text that contains its first `tokens` ids; the whole text if it has
    fewer."""
    if len(text) <= PIECE:
        return text
    end = 0
    left = tokens
    for start, end in _spans(encode, text):
        left -= len(encode(text[start:end]))
        if left < 0:
            break
    return text[:end]


def batches(sizes: Iterable[int]) -> Iterator[slice]:
    """Splits rows, given by their texts' lengths, into batches to tokenize together."""
    start, end, held = 0, 0, 0
    for end, size in enumerate(sizes):
        held += size
        if held > _BATCH and end > start:
            yield slice(start, end)
            start, held = end, size
    yield slice(start, end + 1)


def pieces(encode: Encode, text: str) -> Iterator[str]:
    """Splits a text into parts whose ids, concatenated, are those of the whole text."""
    return (text[start:end] for start, end in _spans(encode, text))


def _spans(encode: Encode, text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while len(text) - start > PIECE:
        cut = _cut(encode, text, start)
        yield start, cut.end
        start = cut.start
    yield start, len(text)


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where a piece ends and the next one starts. They differ by one space for tokenizers that put
    a space before every text."""

    end: int
    start: int


def _cut(encode: Encode, text: str, start: int) -> _Cut:
    """A cut some `PIECE` characters behind `start`."""
    # not at once behind `start`: short pieces cost a check each
    least, most = start + PIECE // 2, start + PIECE
    while most < min(len(text), start + _LONGEST):
        for place in itertools.islice(_places(text, least, most), _TRIES):
            if ids := _checked(encode, text, start, place):
                return ids
        least, most = most, most + PIECE
    end = min(len(text), start + _LONGEST)
    return _Cut(end, end)


def _places(text: str, least: int, most: int) -> Iterator[int]:
    """Where a word or number ends, the last such place first.

    Tokenizers look at letters, digits and the rest apart, and at spaces with what follows them, so
    what comes next does not depend on what comes before.
    """
    for place in range(min(most, len(text) - 2), least, -1):
        before, here, after = text[place - 1], text[place], text[place + 1]
        between = before.isalnum() and not here.isalnum() and after.isalnum()
        if between or (here == " " and not before.isspace()):
            yield place


def _checked(encode: Encode, text: str, start: int, place: int) -> _Cut | None:
    """The cut at `place`, if the text around it gives the same ids in two pieces."""
    before = text[max(start, place - _AROUND) : place]
    after = text[place : place + _AROUND]
    whole, first = encode(before + after), encode(before)
    if whole == first + encode(after):
        return _Cut(place, place)
    # sentencepiece writes "▁" before every text, which stands for the space that is left out
    if after.startswith(" ") and whole == first + encode(after[1:]):
        return _Cut(place, place + 1)
    return None
