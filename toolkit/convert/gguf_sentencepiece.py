"""Converts SentencePiece tokenizers of GGUF (`tokenizer.ggml.model` llama) to fast tokenizers.

The format has pieces, scores and types, but no merges: two neighbours merge if they form a piece,
the best score first. As in llama.cpp, text after a special token begins with a space.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import BPE

from toolkit.errors import ConvertError

_SPACE = "▁"
_NORMAL = 1


def sentencepiece(metadata: Mapping[str, Any], types: Sequence[int], name: str) -> Tokenizer:
    """The tokenizer with vocabulary, merges and spaces; the caller adds added tokens. Raises
    ConvertError if tokens and scores differ in number."""
    words: list[str] = metadata["tokenizer.ggml.tokens"]
    scores: Sequence[float] = metadata.get("tokenizer.ggml.scores", [])
    if len(scores) != len(words):
        raise ConvertError(
            f"{name} has {len(words)} tokens and {len(scores)} scores, which define the"
            " tokenization; the numbers must be equal",
            hint="name the original safetensors directory as `source`",
        )
    vocabulary = {word: index for index, word in enumerate(words)}
    pieces = {
        word: float(score)
        for word, score, kind in zip(words, scores, types, strict=True)
        if kind == _NORMAL
    }
    unknown = metadata.get("tokenizer.ggml.unknown_token_id")
    tokenizer = Tokenizer(
        BPE(
            vocabulary,
            list(_merges(pieces, vocabulary)),
            unk_token=None if unknown is None else words[int(unknown)],
            fuse_unk=True,
            byte_fallback=all(f"<0x{byte:02X}>" in vocabulary for byte in range(256)),
        )
    )
    prefixed = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    spaces = [normalizers.Prepend(_SPACE)] if prefixed else []
    tokenizer.normalizer = normalizers.Sequence([*spaces, normalizers.Replace(" ", _SPACE)])
    # takes off the space that the normalizer put before the text
    strip = [decoders.Strip(" ", 1, 0)] if prefixed else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges(
    pieces: Mapping[str, float], vocabulary: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """Every pair of pieces that makes a third, the best first; equal scores by place."""
    for word in sorted(pieces, key=lambda word: (-pieces[word], vocabulary[word])):
        for place in range(1, len(word)):
            left, right = word[:place], word[place:]
            if left in pieces and right in pieces:
                yield left, right
