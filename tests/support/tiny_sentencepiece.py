"""A small SentencePiece vocabulary as GGUF metadata, and what llama.cpp's algorithm makes of text.

The reading is written from the algorithm's description (merge the best neighbours first), apart
from the product's code and from the library that the product uses.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from toolkit.convert.parity import SENTENCES

SPACE = "▁"
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE, _NORMAL = 2, 3, 4, 6, 1
_SPECIAL = [("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL), ("<|end|>", _CONTROL)]
USER_DEFINED = ("<|user|>", "[TOOL]", "\n\n\n", "   ")


def sentencepiece_metadata(**changes: Any) -> dict[str, Any]:
    """Pieces, scores and types; `changes` are further keys below `tokenizer.ggml.`."""
    inner = Tokenizer(BPE())
    inner.pre_tokenizer = pre.Metaspace(split=False)
    trainer = BpeTrainer(vocab_size=300, show_progress=False)
    inner.train_from_iterator(list(SENTENCES), trainer)
    learned = sorted(
        inner.get_vocab(), key=lambda piece: (len(piece) == 1, inner.token_to_id(piece))
    )
    words = [word for word, _ in _SPECIAL]
    types = [kind for _, kind in _SPECIAL]
    words += [f"<0x{byte:02X}>" for byte in range(256)]
    types += [_BYTE] * 256
    scores = [0.0] * len(words) + [-float(rank) for rank in range(len(learned))]
    words += [*learned, *USER_DEFINED]
    types += [_NORMAL] * len(learned) + [_USER_DEFINED] * len(USER_DEFINED)
    about: dict[str, Any] = {
        "model": "llama",
        "tokens": words,
        "scores": scores + [-1000.0] * len(USER_DEFINED),
        "token_type": types,
        "unknown_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (about | changes).items()}


def reference_ids(metadata: dict[str, Any], text: str) -> list[int]:
    """What llama.cpp gives for `text`, special tokens parsed and added."""
    about = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}
    ids = [about["bos_token_id"]] if about.get("add_bos_token", True) else []
    for part, token in _fragments(text, about):
        if token is not None:
            ids.append(token)
        else:
            prefix = SPACE if about.get("add_space_prefix", True) else ""
            ids += _merged(prefix + part.replace(" ", SPACE), about)
    return [*ids, about["eos_token_id"]] if about.get("add_eos_token", False) else ids


def _fragments(text: str, about: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Special tokens, the leftmost and longest first, and the text between them."""
    kinds = {_UNKNOWN, _CONTROL, _USER_DEFINED}
    special = {w: n for n, w in enumerate(about["tokens"]) if about["token_type"][n] in kinds}
    start = place = 0
    while place < len(text):
        hits = [word for word in special if text.startswith(word, place)]
        if not hits:
            place += 1
            continue
        word = max(hits, key=len)
        if place > start:
            yield text[start:place], None
        yield word, special[word]
        start = place = place + len(word)
    if start < len(text):
        yield text[start:], None


def _merged(text: str, about: dict[str, Any]) -> list[int]:
    normal = {
        word: (score, number)
        for number, (word, score, kind) in enumerate(
            zip(about["tokens"], about["scores"], about["token_type"], strict=True)
        )
        if kind == _NORMAL
    }
    parts = list(text)
    while True:
        pairs = [(normal.get(a + b), n) for n, (a, b) in enumerate(itertools.pairwise(parts))]
        known = [(-found[0], n) for found, n in pairs if found]
        if not known:
            break
        place = min(known)[1]
        parts[place : place + 2] = ["".join(parts[place : place + 2])]
    ids: list[int] = []
    for part in parts:
        if part in normal:
            ids.append(normal[part][1])
        else:
            ids += [about["tokens"].index(f"<0x{byte:02X}>") for byte in part.encode()]
    return ids
