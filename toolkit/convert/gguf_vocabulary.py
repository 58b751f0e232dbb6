"""Converts a byte-level BPE tokenizer to GGUF's metadata, if the format can represent it.

Invariant: a tokenizer that llama.cpp would read differently is refused by name. tokenizer.json
itself is written, too, for readers that use it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers.models import BPE

from toolkit.convert.gguf_tokenizer import (
    CONTROL,
    NORMAL,
    ORIGINAL,
    STYLES,
    UNUSED,
    USER_DEFINED,
    read_tokenizer,
    splitter,
)
from toolkit.convert.parity import SENTENCES
from toolkit.convert.tokenizer_parity import check_tokenizers
from toolkit.errors import ConvertError

_STOPS = ("eos", "eot", "eom")
"""The format's names for tokens that end an answer; llama.cpp ends at each of them."""
_SHOWN = 3


def read_stop_tokens(folder: Path, config: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """Every token id that ends an answer of the model in `folder`, the tokenizer's own first.

    Raises ConvertError when there are more than the format has names for.
    """
    file = folder / "generation_config.json"
    try:
        settings = json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise ConvertError(f"{file} is not valid JSON: {error}") from error
    ids = settings.get("eos_token_id", config.get("eos_token_id"))
    ids_of_ends = [tokenizer.eos_token_id, *(ids if isinstance(ids, list) else [ids])]
    stops = list(dict.fromkeys(int(each) for each in ids_of_ends if each is not None))
    if len(stops) > len(_STOPS):
        raise ConvertError(
            f"{len(stops)} tokens end an answer ({', '.join(map(str, stops))}), and GGUF has names "
            f"for {len(_STOPS)}",
            hint="shorten eos_token_id in generation_config.json",
        )
    return stops


def write_tokenizer(writer: Any, tokenizer: Any, size: int, stops: Sequence[int]) -> None:
    """Adds the tokenizer to `writer`; `size` is the model's vocabulary. Raises ConvertError if GGUF
    cannot store it."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    style = _style(tokenizer.backend_tokenizer, content)
    begins, ends = _ends(tokenizer)
    problems = [*_problems(content, style), *_token_problems(tokenizer, size, stops)]
    if problems:
        raise ConvertError(
            f"GGUF cannot store this tokenizer: {'; '.join(problems)}",
            hint="serve the safetensors with vLLM",
        )
    words = {index: word for word, index in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    types = [
        (CONTROL if added[n].special else USER_DEFINED)
        if n in added
        else NORMAL
        if n in words
        else UNUSED
        for n in range(size)
    ]
    merges = content["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(style)
    # models round their vocabulary up; llama.cpp's converter gives such rows these names
    writer.add_token_list([words.get(n, f"[PAD{n}]") for n in range(size)])
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_string(ORIGINAL, tokenizer.backend_tokenizer.to_str())
    for role in ("bos", "unk", "pad"):
        index = getattr(tokenizer, f"{role}_token_id")
        if index is not None and index < size:  # a class's default may lie beyond the vocabulary
            getattr(writer, f"add_{role}_token_id")(index)
    for role, index in zip(_STOPS, stops, strict=False):
        getattr(writer, f"add_{role}_token_id")(index)
    writer.add_add_bos_token(begins)
    writer.add_add_eos_token(ends)
    _write_templates(writer, tokenizer.chat_template)


def check_written(metadata: Mapping[str, Any], tokenizer: Any, name: str) -> None:
    """Reads a written file's tokenizer as a reader of tokenizer.json does, and as others do."""
    added = tokenizer.get_added_vocab()
    bare = {key: value for key, value in metadata.items() if key != ORIGINAL}
    check_tokenizers("GGUF tokenizer", read_tokenizer(metadata, name), tokenizer, added=added)
    # readers compose letters (NFC) or not, by `tokenizer.ggml.pre`; the format cannot say which
    again = read_tokenizer(bare, name)
    check_tokenizers("GGUF tokens", again, tokenizer, added=added, composed=True)


def _write_templates(writer: Any, template: Any) -> None:
    if isinstance(template, dict):
        template = [{"name": name, "template": text} for name, text in template.items()]
    if template:
        writer.add_chat_template(template)


def _ends(tokenizer: Any) -> tuple[bool, bool]:
    """Whether texts begin with the bos token and end with the eos token. Raises ConvertError if
    other special tokens are added."""
    bare = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(tokenizer("a")["input_ids"])
    bos, eos = [tokenizer.bos_token_id], [tokenizer.eos_token_id]
    for before, after in (([], []), (bos, []), ([], eos), (bos, eos)):
        if whole == [*before, *bare, *after]:
            return bool(before), bool(after)
    raise ConvertError(
        f"the tokenizer makes {whole} of 'a', and without special tokens {bare}; GGUF can add only "
        f"the bos token ({bos[0]}) before a text and the eos token ({eos[0]}) after it"
    )


def _style(fast: Any, content: Mapping[str, Any]) -> str:
    """The format's name for how words are cut, found by cutting the same texts."""
    if content["model"]["type"] != "BPE" or fast.pre_tokenizer is None:
        raise ConvertError(
            f"the tokenizer is {content['model']['type']} without byte-level words",
            hint="supported: byte-level BPE, as most models since GPT-2 have it",
        )
    texts = [*SENTENCES, "it's 12345 dogs'LL\r\n\n  x=[1,22,333];   ", "don't\tstop  12"]
    for style in STYLES:
        known = splitter(style, style)
        # by what it does: equal ways of cutting are written in several ways in tokenizer.json
        if all(
            known.pre_tokenize_str(text) == fast.pre_tokenizer.pre_tokenize_str(text)
            for text in texts
        ):
            return style
    raise ConvertError(
        "the tokenizer splits words in an unsupported way",
        hint=f"known: {', '.join(STYLES)}",
    )


def _problems(content: Mapping[str, Any], style: str) -> Iterator[str]:
    """Settings of tokenizer.json that the format has no place for."""
    model, normalizer = content["model"], content["normalizer"]
    if not model.get("merges"):  # gguf's writer fails with an empty list
        yield "a byte-level BPE without merges"
    # Qwen's own compose letters, and readers of this style know that
    if normalizer is not None and (normalizer["type"], style) != ("NFC", "qwen2"):
        yield f"the normalizer {normalizer['type']}"
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(option):
            yield f"{option} {model[option]}"
    whole = bool(model.get("ignore_merges"))  # words of the vocabulary are not cut at all
    if whole != (style == "llama-bpe") and (word := _unmerged(content)):
        yield f"ignore_merges {whole} with words cut as {style}, which differs for {word!r}"
    if (content["decoder"] or {}).get("type") != "ByteLevel":
        yield f"the decoder {(content['decoder'] or {}).get('type', 'none')}"


def _unmerged(content: Mapping[str, Any]) -> str | None:
    """A word of the vocabulary that merging does not give, if there is one."""
    model, added = content["model"], {token["content"] for token in content["added_tokens"]}
    merges: Any = [
        tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]
    ]
    merging: Any = BPE(model["vocab"], merges)
    words = (word for word in model["vocab"] if word not in added)
    return next((word for word in words if len(merging.tokenize(word)) != 1), None)


def _token_problems(tokenizer: Any, size: int, stops: Sequence[int]) -> Iterator[str]:
    """Added tokens that take spaces or whole words, and tokens beyond the model's vocabulary."""
    added = tokenizer.added_tokens_decoder.values()
    for flag in ("lstrip", "rstrip", "single_word"):
        if flagged := [token.content for token in added if getattr(token, flag)]:
            yield f"{flag} of {_listed(flagged)}"
    beyond = [word for word, index in tokenizer.get_vocab().items() if index >= size]
    if beyond:
        yield f"{_listed(sorted(beyond))} beyond the model's vocabulary of {size}"
    if outside := [str(each) for each in stops if not 0 <= each < size]:
        yield f"the eos_token_id {_listed(outside)} beyond the model's vocabulary of {size}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(name[:40] for name in names[:_SHOWN])}{more}"
