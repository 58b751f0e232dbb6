"""Converts the tokenizer in a GGUF file to the tokenizer.json of the model's authors.

Transformers' own reader takes the beginning of text for its end, drops it, splits added tokens and
loses how words are cut before merging, so both kinds are built here from the metadata: byte-level
BPE (most models since GPT-2) and SentencePiece. Other kinds are refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, processors
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from toolkit.convert.gguf_sentencepiece import sentencepiece
from toolkit.convert.tokenizer_parity import check_tokenizers
from toolkit.errors import ConvertError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5
"""Types of tokens in the format; bytes are 6."""
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

STYLES = ("gpt-2", "smollm", "llama-bpe", "qwen2")
"""The ways of cutting words that are known here, by GGUF's names for them."""
ORIGINAL = "tokenizer.huggingface.json"
"""The whole tokenizer.json, which the format has a key for; our own files hold it."""
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def save_tokenizer(metadata: dict[str, Any], file: Path, folder: Path) -> Any:
    """Writes the tokenizer and its chat template into `folder`; returns it.

    Raises ConvertError for a tokenizer that is not known here or is incomplete, and when what was
    written reads text in another way.
    """
    tokenizer = read_tokenizer(metadata, file.name)
    tokenizer.save_pretrained(folder)
    # AutoTokenizer may choose a class that builds the tokenizer again, in its own way
    again = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    check_tokenizers("saved tokenizer", again, tokenizer, added=tokenizer.get_added_vocab())
    return tokenizer


def read_tokenizer(metadata: Mapping[str, Any], name: str) -> Any:
    """transformers' tokenizer for the metadata of the file `name`. Raises ConvertError if the
    tokenizer is of another kind than gpt2 and llama, or not valid."""
    words = metadata.get("tokenizer.ggml.tokens")
    kind = metadata.get("tokenizer.ggml.model", "none")
    if not words or kind not in {"gpt2", "llama"}:
        raise ConvertError(
            f"{name} has a tokenizer of the kind '{kind}', which the toolkit cannot read",
            hint="known: gpt2 (byte-level BPE) and llama (SentencePiece);"
            " or name the original safetensors directory as `source`",
        )
    types = _types(metadata, words, name)
    if ORIGINAL in metadata:
        # UNUSED ones fill up the model's vocabulary, and no tokenizer.json has them
        known = {word: n for n, word in enumerate(words) if types[n] != UNUSED}
        tokenizer = _original(metadata[ORIGINAL], known, name)
    else:
        own = sentencepiece if kind == "llama" else _byte_level
        tokenizer = own(metadata, types, name)
        _add(tokenizer, words, types)
        tokenizer.post_processor = _ends(metadata, words, name)
    wrapped = _wrap(tokenizer, metadata, name)
    if template := _template(metadata):
        wrapped.chat_template = template
    return wrapped


def _types(metadata: Mapping[str, Any], words: Sequence[str], name: str) -> list[int]:
    if (types := metadata.get("tokenizer.ggml.token_type")) is None:
        special = {_role(metadata, role, words, name) for role in _ROLES}
        return [CONTROL if word in special else NORMAL for word in words]
    if len(types) != len(words):
        raise ConvertError(f"{name} has {len(words)} tokens and {len(types)} token types")
    return [int(kind) for kind in types]


def _original(text: str, known: Mapping[str, int], name: str) -> Tokenizer:
    """The authors' own tokenizer.json, when it is for this vocabulary."""
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises Exception itself
        raise ConvertError(f"{name}: its {ORIGINAL} cannot be read: {error}") from error
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if wrong := vocabulary.items() ^ known.items():
        word, index = min(wrong, key=lambda each: each[1])
        raise ConvertError(
            f"{name}: its {ORIGINAL} and its tokenizer.ggml.tokens differ at token {index}, "
            f"{word[:40]!r}"
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _byte_level(metadata: Mapping[str, Any], _: Sequence[int], name: str) -> Tokenizer:
    words: list[str] = metadata["tokenizer.ggml.tokens"]
    if "tokenizer.ggml.merges" not in metadata:
        raise ConvertError(
            f"{name} does not have tokenizer.ggml.merges, which define the tokenization"
        )
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    style = metadata.get("tokenizer.ggml.pre", "default")
    vocabulary = {word: index for index, word in enumerate(words)}
    # Llama 3's own tokenizer.json has ignore_merges, and GGUF has no key for it
    tokenizer = Tokenizer(BPE(vocabulary, merges, ignore_merges=style == "llama-bpe"))
    tokenizer.pre_tokenizer = splitter(style, name)
    tokenizer.decoder = decoders.ByteLevel()
    if style == "qwen2":
        tokenizer.normalizer = normalizers.NFC()  # as all of Qwen's own have it
    return tokenizer


def _add(tokenizer: Tokenizer, words: Sequence[str], types: Sequence[int]) -> None:
    """Tokens that are found in text before it is cut."""
    special = {UNKNOWN, CONTROL}
    tokenizer.add_tokens(
        [
            AddedToken(word, normalized=False, special=kind in special)
            for word, kind in zip(words, types, strict=True)
            if kind in {*special, USER_DEFINED}
        ]
    )


def _ends(metadata: Mapping[str, Any], words: Sequence[str], name: str) -> Any:
    """The tokens before and after each text; the defaults are those of llama.cpp."""
    llama = metadata.get("tokenizer.ggml.model") == "llama"
    first = llama or metadata.get("tokenizer.ggml.pre") == "llama-bpe"
    expected = {
        "bos": metadata.get("tokenizer.ggml.add_bos_token", first),
        "eos": metadata.get("tokenizer.ggml.add_eos_token", False),
    }
    ends = {}
    for role in (role for role, is_added in expected.items() if is_added):
        ends[role] = _role(metadata, role, words, name)
        if ends[role] is None:
            raise ConvertError(
                f"{name} adds its {role} token to texts but does not name one",
                hint="name the original safetensors directory as `source`",
            )
    if not ends:
        return None
    before, after = ends.get("bos"), ends.get("eos")

    def around(text: str, kind: int) -> str:
        parts = [before, f"${text}", after]
        return " ".join(f"{part}:{kind}" for part in parts if part)

    return processors.TemplateProcessing(
        single=around("A", 0),
        pair=f"{around('A', 0)} {around('B', 1)}",
        special_tokens=[(word, words.index(word)) for word in set(ends.values()) if word],
    )


def _role(metadata: Mapping[str, Any], role: str, words: Sequence[str], name: str) -> str | None:
    index = metadata.get(f"tokenizer.ggml.{_ROLES[role]}_token_id")
    if index is None:
        return None
    # a negative one would be a word from the end of the list
    if not 0 <= int(index) < len(words):
        raise ConvertError(
            f"{name}: its {role} token is {index}, and its vocabulary has {len(words)} tokens",
            hint="name the original safetensors directory as `source`",
        )
    return words[int(index)]


def _template(metadata: Mapping[str, Any]) -> Any:
    """One chat template, or several by name."""
    key = "tokenizer.chat_template"
    named = {
        each: metadata[f"{key}.{each}"]
        for each in metadata.get("tokenizer.chat_templates", [])
        if f"{key}.{each}" in metadata
    }
    if not named:
        return metadata.get(key)
    return {**({"default": metadata[key]} if key in metadata else {}), **named}


def splitter(style: str, name: str) -> Any:
    """The pre-tokenizer that GGUF writers call `name`."""
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
        f"{name} splits words with '{style}', which is not supported",
        hint="known: gpt-2, smollm, llama-bpe, qwen2;"
        " or name the original safetensors directory as `source`",
    )


def _split_by(pattern: str) -> Any:
    level = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre.Sequence([pre.Split(Regex(pattern), behavior="isolated"), level])


def _wrap(tokenizer: Tokenizer, metadata: Mapping[str, Any], name: str) -> Any:
    words: list[str] = metadata["tokenizer.ggml.tokens"]
    special = {
        f"{role}_token": word
        for role in _ROLES
        if (word := _role(metadata, role, words, name)) is not None
    }
    fast: Any = PreTrainedTokenizerFast
    # the clean-up takes spaces before punctuation out of decoded text
    return fast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)
