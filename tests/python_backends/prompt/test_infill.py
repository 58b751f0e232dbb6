"""Fill in the middle: every known layout, with tokenizers of the kind that its models have."""

import json
from pathlib import Path
from typing import Any

import pytest

from python_backends.errors import InvalidInput
from python_backends.prompt.infill import LAYOUTS, Infill, find_infill
from python_backends.prompt.rendering import Renderer

BYTE_LEVEL = {
    "starcoder": ["<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"],
    "santacoder": ["<fim-prefix>", "<fim-middle>", "<fim-suffix>"],
    "qwen-coder": ["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"],
    "deepseek-coder": ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
}
EXPECTED = {
    "starcoder": "<fim_prefix>def f(<fim_suffix> return x<fim_middle>",
    "santacoder": "<fim-prefix>def f(<fim-suffix> return x<fim-middle>",
    "qwen-coder": "<|fim_prefix|>def f(<|fim_suffix|> return x<|fim_middle|>",
    "deepseek-coder": "<｜fim▁begin｜>def f(<｜fim▁hole｜> return x<｜fim▁end｜>",
}
PROMPT = {"text": "def f(", "suffix": " return x"}


def write_byte_level(folder: Path, marks: list[str], begin: bool = True) -> None:
    """As GPT-2's family: 256 bytes and the marks."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<s>", *marks]
    vocabulary = {name: number for number, name in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 0)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)


def write_sentencepiece(folder: Path, marks: list[str]) -> None:
    """As Llama's: characters, `▁` for spaces, one before what begins a text, a byte fallback."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = [chr(number) for number in range(33, 127)]
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    pieces = ["<unk>", "<s>", *marks, *bytes_, "▁", *characters, "▁d", "▁r"]
    vocabulary = {name: number for number, name in enumerate(pieces)}
    merges = [("▁", "d"), ("▁", "r")]
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.add_special_tokens([AddedToken(m, special=True, normalized=False) for m in marks])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)


def pieces(folder: Path, ids: Any) -> list[str]:
    from transformers import AutoTokenizer

    found: list[str] = AutoTokenizer.from_pretrained(folder).convert_ids_to_tokens(ids.tolist())
    return found


@pytest.mark.parametrize("family", BYTE_LEVEL)
@pytest.mark.parametrize("begin", [True, False])
def test_byte_level_families(family: str, begin: bool, tmp_path: Path) -> None:
    write_byte_level(tmp_path, BYTE_LEVEL[family], begin)
    found = pieces(tmp_path, Renderer.load(tmp_path, 100).render(PROMPT))
    text = "".join(found).replace("Ġ", " ")
    assert text == ("<s>" if begin else "") + EXPECTED[family]


def test_codellama(tmp_path: Path) -> None:
    marks = ["▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"]
    write_sentencepiece(tmp_path, marks)
    found = pieces(tmp_path, Renderer.load(tmp_path, 100).render(PROMPT))
    expected = ["<s>", "▁<PRE>", *"def", "▁", *"f(", "▁<SUF>", "▁r", *"eturn", "▁", "x", "▁<MID>"]
    assert found == expected, "no space before the texts that was not there"


def test_codestral(tmp_path: Path) -> None:
    write_sentencepiece(tmp_path, ["[PREFIX]", "[MIDDLE]", "[SUFFIX]"])
    found = pieces(tmp_path, Renderer.load(tmp_path, 100).render(PROMPT))
    expected = ["<s>", "[SUFFIX]", "▁r", *"eturn", "▁", "x", "[PREFIX]", *"def", "▁", *"f("]
    assert found == expected


def test_marks_in_the_texts_are_text(tmp_path: Path) -> None:
    write_byte_level(tmp_path, BYTE_LEVEL["starcoder"])
    prompt = {"text": "a<fim_suffix>", "suffix": "<s>"}
    found = pieces(tmp_path, Renderer.load(tmp_path, 100).render(prompt))
    assert found.count("<fim_suffix>") == found.count("<s>") == 1
    assert "".join(found) == "<s><fim_prefix>a<fim_suffix><fim_suffix><s><fim_middle>"


def test_a_model_without_marks_says_so(tmp_path: Path) -> None:
    write_byte_level(tmp_path, [])
    with pytest.raises(InvalidInput, match="does not fill in the middle") as refused:
        Renderer.load(tmp_path, 100).render(PROMPT)
    assert refused.value.param == "suffix"


def test_the_config_wins(tmp_path: Path) -> None:
    write_byte_level(tmp_path, BYTE_LEVEL["starcoder"])
    turned = json.dumps("<fim_suffix>{suffix}<fim_prefix>{prefix}<fim_middle>")
    found = "".join(pieces(tmp_path, Renderer.load(tmp_path, 100, turned).render(PROMPT)))
    assert found == "<s><fim_suffix>ĠreturnĠx<fim_prefix>defĠf(<fim_middle>"
    with pytest.raises(InvalidInput):
        Renderer.load(tmp_path, 100, "null").render(PROMPT)


@pytest.mark.parametrize(
    "setting", ['"{prefix}<b>{suffix}"', '"<a>{prefix}"', '"<a>{prefix}{prefix}{suffix}"', "5"]
)
def test_layouts_that_cannot_be(setting: str) -> None:
    with pytest.raises(ValueError, match=r"toolkit\.fim"):
        find_infill(setting, ())


def test_every_layout_is_whole() -> None:
    assert len({Infill.parse(layout).marks for layout in LAYOUTS}) == len(LAYOUTS)


def test_the_context_counts_marks_and_suffix(tmp_path: Path) -> None:
    write_byte_level(tmp_path, BYTE_LEVEL["starcoder"])
    with pytest.raises(InvalidInput, match="19 tokens"):
        Renderer.load(tmp_path, 19).render(PROMPT)
