"""Converts token ids to text, for clients that count, inspect or cut prompts themselves.

Special tokens stay visible. Which ids are valid is the renderer's concern.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from python_backends.triton import Array, texts


@dataclass(frozen=True, slots=True)
class Texts:
    """`text` is the text of all ids together; `each` has the vocabulary's own string for each id,
    which may be a part of a character."""

    text: Callable[[Sequence[int]], str]
    each: Callable[[Sequence[int]], list[str]]

    @classmethod
    def of(cls, tokenizer: Any) -> "Texts":
        """Decodes ids with a Hugging Face tokenizer."""

        def each(ids: Sequence[int]) -> list[str]:
            # an id between the vocabulary and the embedding's padded size has no string
            return [token or "" for token in tokenizer.convert_ids_to_tokens(list(ids))]

        return cls(lambda ids: str(tokenizer.decode(list(ids))), each)


def strings(values: Sequence[str]) -> Array:
    """A STRING tensor of shape [number of values]."""
    return texts([value.encode(errors="replace") for value in values])
