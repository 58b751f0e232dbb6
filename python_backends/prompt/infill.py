"""Fill-in-the-middle: arranges prefix and suffix in the layout that the model was trained on.

The layout comes from the step's config (`toolkit.fim`) or from the special tokens of the tokenizer.
Texts and marks are encoded separately, so that no token spans a boundary.
"""

import json
import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from python_backends.errors import InvalidInput

LAYOUTS = (
    "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",  # StarCoder, StarCoder2, Granite
    "<fim-prefix>{prefix}<fim-suffix>{suffix}<fim-middle>",  # SantaCoder
    "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",  # Qwen-Coder, CodeGemma
    "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>",  # DeepSeek-Coder
    "▁<PRE>{prefix}▁<SUF>{suffix}▁<MID>",  # CodeLlama
    "[SUFFIX]{suffix}[PREFIX]{prefix}",  # Codestral
)
"""Layouts by the marks in them, from the models' cards and papers (Bavarian et al. 2022,
"Efficient Training of Language Models to Fill in the Middle", for the two orders)."""

_PLACE = re.compile(r"\{(prefix|suffix)\}")
_ANCHOR = "☺"

Encode = Callable[[str, bool], list[int]]


@dataclass(frozen=True, slots=True)
class Infill:
    """One model's layout: marks, and the names of the two texts, in order."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, layout: str) -> "Infill":
        """Raises ValueError unless the layout contains both texts once and begins with a mark."""
        parts = tuple(part for part in _PLACE.split(layout) if part)
        named = sorted(part for part in parts if part in ("prefix", "suffix"))
        if named != ["prefix", "suffix"] or parts[0] in ("prefix", "suffix"):
            raise ValueError(
                f"'toolkit.fim' is {layout!r}; write '<a>{{prefix}}<b>{{suffix}}<c>' with the marks"
                " of the model"
            )
        return cls(parts)

    @property
    def marks(self) -> tuple[str, ...]:
        return tuple(part for part in self.parts if part not in ("prefix", "suffix"))

    def ids(self, texts: dict[str, str], encode: Encode, literal: Encode) -> list[int]:
        """Token ids of marks and texts. `literal` encodes marks inside a text as ordinary text."""
        ids = _beginning(encode)
        for part in self.parts:
            ids += _joined(texts[part], literal) if part in texts else encode(part, False)
        return ids


def _beginning(encode: Encode) -> list[int]:
    """What the tokenizer puts before a text; what it puts behind one has no place here."""
    first = encode("", True)[:1]
    # with an end token alone, the first id of "" is that end token
    return first if first == encode("a", True)[:1] else []


def _joined(text: str, encode: Encode) -> list[int]:
    """The ids of a text that follows a mark.

    Sentencepiece vocabularies put a space before what they take for a beginning, which a text in
    the middle does not have; so it is encoded behind an anchor that is cut off.
    """
    anchor = encode(_ANCHOR, False)
    if encode(_ANCHOR + "a", False) == anchor + encode("a", False):
        return encode(text, False)
    whole = encode(_ANCHOR + text, False)
    # a merge across the anchor would change its ids, and the cut would be wrong
    return whole[len(anchor) :] if whole[: len(anchor)] == anchor else encode(text, False)


def find_infill(setting: str | None, vocabulary: Container[str]) -> Infill | None:
    """The layout from the config, or else the one whose marks the vocabulary contains.

    `setting` is JSON: a layout, or null for none. Raises ValueError for an invalid layout.
    """
    if setting:
        layout = json.loads(setting)
        if layout is None or layout is False:
            return None
        if not isinstance(layout, str):
            raise ValueError(f"'toolkit.fim' is {setting}, which is not a text with a layout")
        return Infill.parse(layout)
    parsed = (Infill.parse(layout) for layout in LAYOUTS)
    return next((each for each in parsed if _holds(vocabulary, each.marks)), None)


def _holds(vocabulary: Container[str], marks: Sequence[str]) -> bool:
    return all(mark in vocabulary for mark in marks)


def refuse() -> InvalidInput:
    """The error for a model without fill-in-the-middle."""
    return InvalidInput(
        "this model does not fill in the middle: its tokenizer has no marks for it and none are"
        " declared; leave 'suffix' out",
        code="unsupported_parameter",
        param="suffix",
    )
