"""Text that is tokenized in pieces gives the ids of the whole, and no more than are needed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from python_backends import splitting
from python_backends.errors import InvalidInput
from python_backends.splitting import PIECE, batches, beginning, check_bytes, encode_up_to, head
from tests.support.tokenizing import families, texts

EMOJI = Path(__file__).parents[2] / "examples/emoji/pipeline/tokenizer/tokenizer.json"
MANY = 10**9
TEXTS = texts()


@pytest.fixture(scope="module")
def encoders() -> dict[str, Callable[[str], list[int]]]:
    """Each family's encoder, and that of a published model."""
    from tokenizers import Tokenizer

    published = Tokenizer.from_file(str(EMOJI))
    published.no_truncation()
    published.no_padding()
    found = {**families(), "emoji": published}
    return {name: encoder(tokenizer) for name, tokenizer in found.items()}


def encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("family", ["gpt2", "padded", "qwen", "llama", "t5", "bert", "emoji"])
@pytest.mark.parametrize("name", TEXTS)
def test_pieces_give_the_ids_of_the_whole(
    family: str, name: str, encoders: dict[str, Callable[[str], list[int]]]
) -> None:
    text = TEXTS[name]
    assert encode_up_to(encoders[family], text, MANY) == encoders[family](text)


@pytest.mark.parametrize("name", ["mixed", "prose", "table"])
def test_usual_texts_are_cut_into_small_pieces(
    name: str, encoders: dict[str, Callable[[str], list[int]]]
) -> None:
    for encode in encoders.values():
        assert max(map(len, splitting.pieces(encode, TEXTS[name]))) <= 2 * PIECE


def test_tokenizing_stops_at_the_limit() -> None:
    seen = 0

    def encode(text: str) -> list[int]:
        nonlocal seen
        seen += len(text)
        return list(map(ord, text))

    assert len(encode_up_to(encode, "word " * 1_000_000, 100)) > 100
    assert seen < 3 * PIECE


def test_what_cannot_be_cut_is_still_bounded() -> None:
    longest = 0

    def encode(text: str) -> list[int]:
        nonlocal longest
        longest = max(longest, len(text))
        return list(map(ord, text))

    assert len(encode_up_to(encode, "a" * 1_000_000, MANY)) == 1_000_000
    assert longest <= 131_072


def test_the_head_of_a_text_holds_its_first_tokens(
    encoders: dict[str, Callable[[str], list[int]]],
) -> None:
    for family, encode in encoders.items():
        beginning = head(encode, TEXTS["mixed"], 256)
        assert len(beginning) < 3 * PIECE, family
        assert encode(beginning)[:256] == encode(TEXTS["mixed"])[:256], family
    assert head(encoders["bert"], "short", 1) == "short"


def test_of_a_text_that_may_be_cut_a_bounded_part_is_looked_at() -> None:
    assert beginning("a" * 1_000_000, 256) == "a" * 256 * 128
    assert beginning("a b", 256) == "a b"


def test_rows_are_tokenized_in_parts_of_bounded_size() -> None:
    sizes = [10, 200_000, 10, 100_000, 100_000, 5]
    parts = [sizes[part] for part in batches(sizes)]
    assert [size for part in parts for size in part] == sizes
    assert all(len(part) == 1 or sum(part) <= 131_072 for part in parts)


def test_bytes_are_checked_and_told() -> None:
    check_bytes("é" * 50, 100, "prompt", 9)
    check_bytes("é" * 5000, 0, "prompt", 9)
    with pytest.raises(
        InvalidInput, match="102 bytes of text, more than the model's maximum of 100"
    ) as e:
        check_bytes("é" * 51, 100, "prompt", 9)
    assert (e.value.param, e.value.code) == ("prompt", "context_length_exceeded")
