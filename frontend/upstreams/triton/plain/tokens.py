"""Counts tokens for models whose server does not: with the model's tokenizer, else by an estimate.

The estimate is one token for 3.5 characters, as in the costs of the fair share.
"""

from pathlib import Path
from typing import Any

_PER_TOKEN = 3.5


class Tokens:
    """One model's tokenizer, a `tokenizer.json`; without a file it only estimates. Raises
    ValueError if the file is not a tokenizer."""

    def __init__(self, file: Path | None = None) -> None:
        self.tokenizer: Any = None
        if file is None:
            return
        try:
            from tokenizers import Tokenizer  # noqa: PLC0415  (an extra, and most gateways do without)
        except ImportError:
            raise ValueError(
                "it needs the package 'tokenizers'; install triton-toolkit[tokenizers]"
            ) from None
        try:
            self.tokenizer = Tokenizer.from_file(str(file))
        # the library raises plain Exception, whatever is wrong
        except Exception as error:
            raise ValueError(f"it cannot be read: {error}") from None
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    @property
    def exact(self) -> bool:
        """Whether it counts, instead of estimating."""
        return self.tokenizer is not None

    def count(self, text: str, *, special: bool = True) -> int:
        """Tokens of a text. `special`: with those that the tokenizer adds."""
        if self.tokenizer is None:
            return max(1, round(len(text) / _PER_TOKEN)) if text else 0
        return len(self.tokenizer.encode(text, add_special_tokens=special).ids)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text."""
        assert self.tokenizer is not None
        return [one.ids for one in self.tokenizer.encode_batch(texts)]


ESTIMATE = Tokens()
"""For models without a declared tokenizer."""
