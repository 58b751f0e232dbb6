"""The tokenizer inside a GGUF file → tokenizer.json, as the model's authors had it.

Transformers' own reader takes the first control token for the end of text and loses how words are
cut before merging, so byte-level BPE (most models since GPT-2) is built here from the metadata.
"""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, processors
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from toolkit.errors import ConvertError

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

STYLES = ("gpt-2", "smollm", "llama-bpe", "qwen2")
"""The ways of cutting words that are known here, by GGUF's names for them."""


def save_tokenizer(metadata: dict[str, Any], file: Path, folder: Path) -> Any:
    """Writes the tokenizer and its chat template into `folder`; returns it.

    Raises ConvertError for a byte-level tokenizer whose word splitting is not known here.
    """
    if metadata.get("tokenizer.ggml.model") == "gpt2":
        tokenizer: Any = _wrap(_byte_level(metadata, file.name), metadata)
    else:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    if template := metadata.get("tokenizer.chat_template"):
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return tokenizer


def _byte_level(metadata: dict[str, Any], name: str) -> Tokenizer:
    words: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    style = metadata.get("tokenizer.ggml.pre", "default")
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(vocabulary, merges, ignore_merges=style == "llama-bpe"))
    tokenizer.pre_tokenizer = splitter(style, name)
    tokenizer.decoder = decoders.ByteLevel()
    types: list[int] = metadata.get("tokenizer.ggml.token_type", [_NORMAL] * len(words))
    for word, kind in zip(words, types, strict=True):
        if kind in {_CONTROL, _USER_DEFINED}:
            token = AddedToken(word, normalized=False, special=kind == _CONTROL)
            tokenizer.add_tokens([token])
    if metadata.get("tokenizer.ggml.add_bos_token", style == "llama-bpe"):
        first = int(metadata["tokenizer.ggml.bos_token_id"])
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{words[first]} $A", special_tokens=[(words[first], first)]
        )
    return tokenizer


def splitter(style: str, name: str) -> Any:
    """How text is cut before merging, by the name that GGUF writers gave it."""
    match style:
        case "default" | "gpt-2":
            return pre.ByteLevel(add_prefix_space=False)
        case "smollm":
            return pre.Sequence(
                [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]
            )
        case "llama-bpe":
            return _split_by(_LLAMA3)
        case "qwen2":
            return _split_by(_QWEN2)
    raise ConvertError(
        f"{name} cuts words in the way '{style}', which is not known here",
        hint="known: gpt-2, smollm, llama-bpe, qwen2;"
        " or name the original safetensors directory as `source`",
    )


def _split_by(pattern: str) -> Any:
    level = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre.Sequence([pre.Split(Regex(pattern), behavior="isolated"), level])


def _wrap(tokenizer: Tokenizer, metadata: dict[str, Any]) -> Any:
    words: list[str] = metadata["tokenizer.ggml.tokens"]
    special = {}
    for role, key in {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}.items():
        if (index := metadata.get(f"tokenizer.ggml.{key}_token_id")) is not None:
            special[f"{role}_token"] = words[int(index)]
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)
