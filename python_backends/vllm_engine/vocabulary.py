"""The exact bytes of each token, also when they are not complete characters.

Byte-level vocabularies write each byte as a printable character (GPT-2's table), sentencepiece ones
spell single bytes as `<0xE2>` and spaces as `▁`; added tokens are their own text.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@functools.cache
def byte_characters() -> dict[str, int]:
    """GPT-2's table: printable character -> byte (encoder.py of openai/gpt-2, 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in printable]
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}


class Vocabulary:
    """Token id -> bytes; each id is computed once."""

    def __init__(
        self, spell: Callable[[int], str | None], added: Mapping[int, str], byte_level: bool
    ) -> None:
        self._spell = spell
        self._added = added
        self._byte_level = byte_level
        self._known: dict[int, list[int]] = {}

    @classmethod
    def read(cls, tokenizer: Any) -> "Vocabulary":
        """From a transformers tokenizer, fast or slow."""
        added = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items()}
        return cls(tokenizer.convert_ids_to_tokens, added, _is_byte_level(tokenizer))

    def is_added(self, token_id: int) -> bool:
        """Whether `token` is an added token, whose text may be left out of a reply."""
        return token_id in self._added

    def bytes_of(self, token_id: int) -> list[int]:
        if token_id not in self._known:
            self._known[token_id] = list(self._bytes(token_id))
        return self._known[token_id]

    def _bytes(self, token_id: int) -> bytes:
        # first: an added token is literal, also where it looks like <0x0A>
        if token_id in self._added:
            return self._added[token_id].encode()
        spelling = self._spell(token_id) or ""  # ids beyond the vocabulary exist in padded heads
        if self._byte_level:
            table = byte_characters()
            # tokens that were added later may contain characters outside the table
            if all(character in table for character in spelling):
                return bytes(table[character] for character in spelling)
            return spelling.encode()
        if single := _BYTE.fullmatch(spelling):
            return bytes([int(single[1], 16)])
        return spelling.replace("▁", " ").encode()


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    return "ByteLevel" in json.dumps(json.loads(backend.to_str()).get("decoder"))
