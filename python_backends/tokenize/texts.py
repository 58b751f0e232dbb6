"""One model's tokenizer for texts, with its own special tokens and its context length."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_backends.errors import ContextOverflow
from python_backends.splitting import batches, beginning, check_bytes, head
from python_backends.tokenize.given import Given, given_rows
from python_backends.tokenize.padding import Row, pad
from python_backends.triton import Array, Arrays, decode


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """Tokenizes texts; truncates only if the request allows it."""

    tokenizer: Any
    context_length: int
    multiple: int = 1
    max_bytes: int = 0

    @classmethod
    def load(
        cls, folder: Path, context_length: int, multiple: int = 1, max_bytes: int = 0
    ) -> "TextTokenizer":
        """From a folder with `tokenizer.json`; lengths are rounded up to `multiple`, texts of more
        than `max_bytes` refused unless they may be cut."""
        return cls(load_tokenizer(folder), context_length, multiple, max_bytes)

    def read(self, arrays: Arrays) -> dict[str, Array]:
        """`text` STRING [B, 1], `truncate` BOOL [B, 1] -> ids and mask INT64 [B, L], `num_tokens`.

        A row of `token_ids` replaces its text. Raises InvalidInput for a text that is too long and
        may not be truncated, and for ids that this tokenizer cannot have made.
        """
        texts = [decode(value, "text") for value in arrays["text"].reshape(-1)]
        cut = arrays["truncate"].reshape(-1) if "truncate" in arrays else [False] * len(texts)
        for number, may_cut in enumerate(cut):
            if may_cut:
                texts[number] = beginning(texts[number], self.context_length)
            else:
                check_bytes(texts[number], self.max_bytes, "input", self.context_length)
        rows = [
            Row(self._fit(number, ids, bool(may_cut)))
            for number, (ids, may_cut) in enumerate(zip(self._ids(texts, arrays), cut, strict=True))
        ]
        return pad(rows, self.multiple, most=self.context_length)

    def count(self, text: str) -> int:
        """The number of tokens of a text of any length, special tokens included."""
        return len(self._encode([text])[0])

    def _ids(self, texts: Sequence[str], arrays: Arrays) -> list[list[int]]:
        if "token_ids" not in arrays:
            return self._encode(texts)
        given, rows = Given.of(self.tokenizer), given_rows(arrays, len(texts))
        for number, ids in enumerate(rows):
            if ids:
                given.check(number, ids)
        # a row without ids has text: requests may mix both
        return [ids or self._encode([text])[0] for ids, text in zip(rows, texts, strict=True)]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        # the whole of a short text; of a long one no more than its first tokens are used
        texts = [head(self._plain, text, self.context_length) for text in texts]
        parts = batches(map(len, texts))
        return [row.ids for part in parts for row in self.tokenizer.encode_batch_fast(texts[part])]

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _fit(self, number: int, ids: list[int], may_cut: bool) -> list[int]:
        if len(ids) <= self.context_length:
            return ids
        if not may_cut:
            raise ContextOverflow(
                f"input {number} has {len(ids)} tokens, more than the model's maximum of"
                f" {self.context_length}; shorten it or request truncation",
                param="input",
                limit=self.context_length,
                prompt_tokens=len(ids),
            )
        # special tokens are at the end too ([SEP]), so the text is cut and not the ids
        tail = Given.of(self.tokenizer).last
        return ids[: self.context_length - len(tail)] + tail


def load_tokenizer(folder: Path) -> Any:
    """Loads `tokenizer.json` of a folder, without its settings for padding and truncation."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
