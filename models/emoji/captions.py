"""Captions: sentences that name a concept, sometimes a style and a background, and the tokenizer.

A caption always names its concept in one of the concept's own words. The tokenizer is CLIP's kind
(byte-level BPE, lower case), so that any text at all can be given.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers import Regex
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

LENGTH = 32  # tokens
START, END = "<|startoftext|>", "<|endoftext|>"
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Subject:
    """What a caption is about, as indices into prompts.json; style None goes unnamed."""

    concept: int
    style: int | None
    background: int


class Captioner:
    """Draws captions; the same seed gives the same ones."""

    def __init__(self, prompts: dict[str, Any], seed: int) -> None:
        self._prompts = prompts
        self._random = random.Random(seed)  # noqa: S311
        self._backgrounds = list(prompts["backgrounds"])
        self._colours = [*self._backgrounds, "red", "purple", "orange", "brown"]
        names = [art["style"] for art in prompts["art"]]
        self._styles = {
            names.index(style): word
            for word, styles in prompts["style_words"].items()
            for style in styles
        }

    def write(self, subject: Subject) -> str:
        """One caption."""
        draw = self._random
        name = draw.choice(self._prompts["concepts"][subject.concept]["words"])
        if draw.random() < 0.06:
            name += "s"
        if "heart" not in name and draw.random() < 0.08:
            name = f"{draw.choice(self._colours)} {name}"  # a colour that changes nothing
        if subject.style is not None:
            name = f"{self._styles[subject.style]} {name}"
        caption = draw.choice(self._prompts["templates"]).format(name)
        if name[0] in "aeiou":
            caption = caption.replace(f" a {name}", f" an {name}")
        caption = self._distract(caption, name)
        background = self._backgrounds[subject.background]
        if background != "white" or draw.random() < 0.05:
            phrase = draw.choice(self._prompts["background_phrases"]).format(background)
            caption += draw.choice([" ", ", "]) + phrase
        return caption + draw.choice(["", "", "", "", ".", "!"])

    def nonsense(self) -> str:
        """Words that name nothing the model knows."""
        return " ".join(self._filler() for _ in range(self._random.randrange(6)))

    def _distract(self, caption: str, name: str) -> str:
        """Sometimes stray words before or after the name."""
        before, _, after = caption.partition(name)
        if self._random.random() < 0.25:
            before += " ".join(self._fillers()) + " "
        if self._random.random() < 0.25:
            after += " " + " ".join(self._fillers())
        return before + name + after

    def _fillers(self) -> list[str]:
        return [self._filler() for _ in range(self._random.choice([1, 1, 1, 2, 3, 5]))]

    def _filler(self) -> str:
        if self._random.random() < 0.5:
            return str(self._random.choice(self._prompts["fillers"]))
        letters = "abcdefghijklmnopqrstuvwxyz"
        return "".join(self._random.choices(letters, k=self._random.randrange(2, 8)))


def train_tokenizer(prompts: dict[str, Any], folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges come from the captions' own words, saved in `folder`."""
    phrases = [word for concept in prompts["concepts"] for word in concept["words"]]
    phrases += [f"{word}s" for word in phrases]
    phrases += [*prompts["templates"], *prompts["fillers"], *prompts["background_phrases"]]
    phrases += [*prompts["style_words"], *prompts["backgrounds"], "orange", "brown"]
    pairs = Tokenizer(BPE(end_of_word_suffix="</w>"))
    pairs.normalizer = Lowercase()
    split = Split(Regex(_PIECES), behavior="removed", invert=True)
    pairs.pre_tokenizer = Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    letters = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=4000,
        show_progress=False,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
    )
    pairs.train_from_iterator(sorted(set(phrases)) * 2, trainer)
    merges = [tuple(merge) for merge in json.loads(pairs.to_str())["model"]["merges"]]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["".join(merge) for merge in merges]
    vocabulary = {token: number for number, token in enumerate([*dict.fromkeys(tokens), START, END])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    tokenizer = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=LENGTH)
    return tokenizer
