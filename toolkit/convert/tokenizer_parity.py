"""Compares the token ids of two tokenizers, with texts that distinguish tokenizers.

Every added token appears alone, at both ends, between words, with spaces around it and inside a
word; the rest are spaces, emoji, joined and decomposed letters, digits, code and other scripts.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from toolkit.convert.parity import SENTENCES, Check, record

_TEXTS = (
    *SENTENCES,
    "",
    " ",
    "   ",
    "a",
    " a",
    "  a  b   c ",
    "trailing space ",
    "\ttabs\tand\n\nlines\r\n  indented\n",
    "no-break\u00a0space, thin\u2009space, ideographic\u3000space, zero\u200bwidth",
    "🌸",
    "😀😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 emoji",
    "cafe\u0301 n\u0303 \ufb01 Å",
    "I'm, you're, it'll, WE'VE don't",
    "0 12 345 6789 1,234,567.89 3.14e-10",
    "x = [1, 22, 333];  // ok?!\n\tif (a<=b) { return `c`; }",
    "Ελληνικά русский עברית العربية हिन्दी ไทย 한국어 中文",
    "▁underlined▁ Ġbyte Ċlevel <0x41> \\u0041",
    "\u0000\u0001\u007f\ufffd",
    "UPPER lower MiXeD",
)
_MOST_ADDED = 64
"""The most added tokens that are compared, spread evenly; each of them also by itself."""


def corpus(added: Sequence[str]) -> Iterator[str]:
    """Texts for which tokenizers with the tokens `added` give different ids, if they differ."""
    yield from _TEXTS
    yield from added
    step = max(1, len(added) // _MOST_ADDED)
    for token in added[::step]:
        yield f"{token}Hello world"
        yield f"Hello world{token}"
        yield f"Hello{token}world"
        yield f" Hello {token} world "
        yield f"Hello  {token}\n world"
        yield f"{token}{token} {token}"
        yield f"{token[:-1]} {token.lower()} {token.upper()}x"


def check_tokenizers(
    part: str, actual: Any, expected: Any, *, added: Iterable[str], composed: bool = False
) -> None:
    """Compares transformers' tokenizers: ids with and without the special ones, and decoded text.

    `composed` asks only with letters in one piece (NFC). Raises ConvertError that shows a text.
    """
    # sorted, so that the same tokens are chosen each time
    texts = list(dict.fromkeys(corpus(sorted(added))))
    if composed:
        texts = [text for text in texts if unicodedata.is_normalized("NFC", text)]
    wrong = [text for text in texts if _read(actual, text) != _read(expected, text)]
    shown = wrong[0] if wrong else ""
    record(
        Check(part, "texts with other token ids", len(wrong), 0),
        f"{part}: {len(wrong)} of {len(texts)} texts have other token ids, such as {shown[:40]!r}: "
        f"{_ids(actual, shown)[:12]} instead of {_ids(expected, shown)[:12]}",
    )


def _read(tokenizer: Any, text: str) -> tuple[list[int], list[int], str]:
    ids = _ids(tokenizer, text)
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    # cleaned up, texts with other spaces would look equal
    decoded = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return ids, list(plain), str(decoded)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text)["input_ids"])
