"""How much text one token can stand for: what bounds a prompt in bytes before it is tokenized.

Reads `tokenizer.json` as data; needs no tokenizer library.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_BYTE_LEVEL = '"ByteLevel"'
_SPACE = "▁"  # how SentencePiece vocabularies write a space
_INSIDE = "##"  # before a WordPiece token that continues a word


def longest_token_bytes(folder: Path) -> int:
    """UTF-8 bytes of text that the longest token of a tokenizer's folder stands for; 0: unknown."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return 0
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    model = tokenizer.get("model") or {}
    parts = json.dumps([tokenizer.get("pre_tokenizer"), tokenizer.get("decoder")])
    # there each character of a token stands for one byte
    measure = len if _BYTE_LEVEL in parts else _bytes
    own = max(map(measure, _tokens(model.get("vocab"))), default=0)
    return max(own, *(_bytes(token) for token in _added(tokenizer)), 0)


def _tokens(vocabulary: Any) -> Iterable[str]:
    """Of a mapping from tokens to ids, or of a list of tokens with their scores."""
    return (str(each[0] if isinstance(each, list) else each) for each in vocabulary or ())


def _added(tokenizer: dict[str, Any]) -> Iterator[str]:
    return (str(each.get("content", "")) for each in tokenizer.get("added_tokens") or ())


def _bytes(token: str) -> int:
    return len(token.replace(_SPACE, " ").removeprefix(_INSIDE).encode())
