"""Tokenizers in and out of GGUF: equal ids on texts that tell them apart, or a refusal by name."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, normalizers, processors
from tokenizers import pre_tokenizers as pre

from tests.support.tiny_language import save_tiny_language
from tests.support.tiny_sentencepiece import (
    USER_DEFINED,
    reference_ids,
    sentencepiece_metadata,
)
from toolkit.convert.gguf_tokenizer import read_tokenizer, save_tokenizer
from toolkit.convert.quiet import quiet
from toolkit.convert.run import Request, convert
from toolkit.convert.tokenizer_parity import corpus
from toolkit.errors import ConvertError
from toolkit.progress import silent

ADDED = ("<s>", "</s>", "<unk>", "<|end|>", *USER_DEFINED)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"add_bos_token": True},
        {"add_bos_token": False},
        {"add_bos_token": True, "add_eos_token": True},
        {"add_space_prefix": False, "eos_token_id": 3, "padding_token_id": 2},
    ],
)
def test_sentencepiece_reads_text_as_llama_cpp_does(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    from transformers import AutoTokenizer

    metadata = sentencepiece_metadata(**changes)
    with quiet():
        save_tokenizer(metadata, tmp_path / "a.gguf", tmp_path / "out")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    words = metadata["tokenizer.ggml.tokens"]
    assert tokenizer.bos_token == "<s>"
    assert tokenizer.eos_token == words[changes.get("eos_token_id", 2)]
    assert tokenizer.unk_token == "<unk>"
    assert tokenizer.pad_token == (words[2] if "padding_token_id" in changes else None)
    for text in corpus(ADDED):
        assert tokenizer(text).input_ids == reference_ids(metadata, text), text
    for text in ("Hello  world 🌸", "It was the best\nof times"):
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_an_added_token_is_one_token() -> None:
    with quiet():
        tokenizer = read_tokenizer(sentencepiece_metadata(add_bos_token=False), "a.gguf")
    words = tokenizer.get_vocab()
    for token in ADDED:
        assert tokenizer(f"Water{token}boils").input_ids.count(words[token]) == 1
        assert tokenizer(token).input_ids == [words[token]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "t5"}, "a tokenizer of the kind 't5'"),
        ({"model": "none"}, "of the kind 'none'"),
        ({"scores": [0.0]}, "and 1 scores"),
        ({"token_type": [1, 2]}, "and 2 token types"),
        ({"eos_token_id": 10**6}, "its eos token is 1000000"),
        ({"bos_token_id": None}, "adds its bos token to texts but does not name one"),
    ],
)
def test_an_incomplete_tokenizer_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConvertError, match=message):
        save_tokenizer(sentencepiece_metadata(**changes), tmp_path / "a.gguf", tmp_path)


def change_tokenizer(folder: Path, change: Any) -> None:
    from transformers import AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        change(tokenizer)
        tokenizer.save_pretrained(folder)


def change_config(folder: Path, name: str = "config.json", **changes: Any) -> None:
    file = folder / name
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | changes))


def add_tokens(tokenizer: Any) -> None:
    """Special ones, and others that are text, made of spaces or of letters."""
    tokenizer.add_tokens(
        [AddedToken(text, normalized=False) for text in ("[TOOL]", "   ", "zebra")]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|🌸|>"]})


def begin_and_end(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A <|end|>", special_tokens=[("<|begin|>", 0), ("<|end|>", 1)]
    )


def compose(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()


@pytest.mark.parametrize(
    ("style", "change"),
    [
        ("smollm", None),
        ("llama-bpe", begin_and_end),
        ("qwen2", None),
        ("qwen2", compose),
        ("gpt-2", begin_and_end),
    ],
)
def test_byte_level_tokenizers_come_back_as_they_were(
    tmp_path: Path, style: str, change: Any
) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    with quiet():
        source = save_tiny_language(tmp_path / "tiny", style=style, vocab_size=410)
    change_tokenizer(
        source, lambda tokenizer: [each(tokenizer) for each in (add_tokens, change) if each]
    )
    change_config(source, "generation_config.json", eos_token_id=[2, 1, 404])
    convert(source, Request("gguf"), tmp_path / "gguf", silent)
    file = tmp_path / "gguf" / "tiny-F16.gguf"
    metadata = {name: f.contents() for name, f in gguf.GGUFReader(file).fields.items()}
    bare = {name: value for name, value in metadata.items() if "huggingface" not in name}
    convert(file, Request("safetensors"), tmp_path / "back", silent)
    with quiet():
        wanted = AutoTokenizer.from_pretrained(source)
        found = AutoTokenizer.from_pretrained(tmp_path / "back")
        plain = read_tokenizer(bare, "bare")
        stops = GenerationConfig.from_pretrained(tmp_path / "back").eos_token_id
    assert sorted(stops) == [1, 2, 404]
    assert found.eos_token_id == wanted.eos_token_id == 1
    for text in corpus(sorted(wanted.get_added_vocab())):
        assert found(text).input_ids == wanted(text).input_ids, text
        if "\u0301" not in text:
            assert plain(text).input_ids == wanted(text).input_ids, text


def flagged(**flags: bool) -> Any:
    return lambda tokenizer: tokenizer.add_tokens([AddedToken("[X]", normalized=False, **flags)])


def normalize(normalizer: Any) -> Any:
    return lambda tokenizer: setattr(tokenizer.backend_tokenizer, "normalizer", normalizer)


def end_twice(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|end|> <|end|>", special_tokens=[("<|end|>", 1)]
    )


def prefix_space(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flagged(lstrip=True), r"lstrip of \[X\]"),
        (flagged(rstrip=True), r"rstrip of \[X\]"),
        (flagged(single_word=True), r"single_word of \[X\]"),
        (flagged(rstrip=True, single_word=True), r"rstrip of \[X\]; single_word of \[X\]"),
        (normalize(normalizers.Lowercase()), "the normalizer Lowercase"),
        (normalize(normalizers.NFC()), "the normalizer NFC"),
        (end_twice, "GGUF can add only the bos token"),
        (prefix_space, "splits words in an unsupported way"),
        (lambda t: t.add_tokens([f"[{n}]" for n in range(20)]), "beyond the model's vocabulary"),
    ],
)
def test_what_gguf_cannot_hold_is_refused_by_name(
    tmp_path: Path, change: Any, message: str
) -> None:
    with quiet():
        source = save_tiny_language(tmp_path / "tiny", vocab_size=410)
    change_tokenizer(source, change)
    with pytest.raises(ConvertError, match=message):
        convert(source, Request("gguf"), tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


def test_a_bpe_without_merges_is_refused(tmp_path: Path) -> None:
    with quiet():
        source = save_tiny_language(tmp_path / "tiny", vocab_size=410)
    content = json.loads((source / "tokenizer.json").read_text())
    content["model"]["merges"] = []
    (source / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ConvertError, match="BPE without merges"):
        convert(source, Request("gguf"), tmp_path / "out", silent)


def test_a_tensor_of_the_wrong_shape_is_refused_by_name(tmp_path: Path) -> None:
    with quiet():
        source = save_tiny_language(tmp_path / "tiny", vocab_size=410)
    tensors = load_file(source / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"][:-1].clone()
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConvertError, match=r"model\.norm\.weight"):
        convert(source, Request("gguf"), tmp_path / "out", silent)


@pytest.mark.parametrize(
    ("stops", "message"),
    [([1, 3, 4, 5], "4 tokens end an answer"), ([1, 4000], "eos_token_id 4000 beyond")],
)
def test_stop_tokens_that_gguf_cannot_hold_are_refused(
    tmp_path: Path, stops: list[int], message: str
) -> None:
    with quiet():
        source = save_tiny_language(tmp_path / "tiny")
    change_config(source, "generation_config.json", eos_token_id=stops)
    with pytest.raises(ConvertError, match=message):
        convert(source, Request("gguf"), tmp_path / "out", silent)


WINDOWS = {
    "mistral": {"sliding_window": 64},
    "qwen2": {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0},
}


@pytest.mark.parametrize("goal", ["gguf", "onnx"])
@pytest.mark.parametrize("architecture", WINDOWS)
def test_a_window_shorter_than_the_context_is_refused(
    tmp_path: Path, architecture: str, goal: str
) -> None:
    with quiet():
        source = save_tiny_language(
            tmp_path / "tiny", architecture=architecture, **WINDOWS[architecture]
        )
    with pytest.raises(ConvertError, match="attends to the last 64 tokens only"):
        convert(source, Request(goal), tmp_path / "out", silent)


@pytest.mark.parametrize(
    ("architecture", "window"),
    [
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": 512}),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 64}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 2}),
    ],
)
def test_a_window_that_no_token_feels_is_none(
    tmp_path: Path, architecture: str, window: dict[str, Any]
) -> None:
    from transformers import AutoConfig

    from toolkit.convert.windows import refuse_window

    with quiet():
        source = save_tiny_language(tmp_path / "tiny", architecture=architecture, **window)
        refuse_window(AutoConfig.from_pretrained(source), "GGUF")
