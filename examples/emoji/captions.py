"""Captions: sentences that name a concept, sometimes a style and a background, and the tokenizer.

A caption always names its concept in one of the concept's own words. The tokenizer is CLIP's kind
(byte-level BPE, lower case), so that any text at all can be given.
"""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

LENGTH = 32  # tokens
START, END = "<|startoftext|>", "<|endoftext|>"
COLOURS = ["red", "purple", "orange", "brown"]  # beside those of the backgrounds


@dataclass(frozen=True)
class Subject:
    """What a caption is about, as indices into prompts.json; style None goes unnamed."""

    concept: int
    style: int | None
    background: int


class Captioner:
    """Draws captions; the same seed gives the same ones."""

    def __init__(self, prompts: dict[str, Any], seed: int, step: int = 0) -> None:
        self._prompts = prompts
        self._random = random.Random(seed * 1_000_003 + step)  # noqa: S311
        self._backgrounds = list(prompts["backgrounds"])
        self._colours = [*self._backgrounds, *COLOURS]
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
        caption: str = draw.choice(self._prompts["templates"]).format(name)
        if name[0] in "aeiou":
            caption = caption.replace(f" a {name}", f" an {name}")
        caption = self._distract(caption, name)
        background = self._backgrounds[subject.background]
        if background != "white" or draw.random() < 0.05:
            phrase = draw.choice(self._prompts["background_phrases"]).format(background)
            caption += draw.choice([" ", ", "]) + phrase
        return caption + draw.choice(["", "", "", "", ".", "!"])

    def nonsense(self) -> str:
        """Words that the model does not know."""
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
            filler: str = self._random.choice(self._prompts["fillers"])
            return filler
        letters = "abcdefghijklmnopqrstuvwxyz"
        return "".join(self._random.choices(letters, k=self._random.randrange(2, 8)))


def learn_merges(prompts: dict[str, Any]) -> list[tuple[str, str]]:
    """Byte pairs (Sennrich et al. 2016, algorithm 1) until every known word is one token.

    Own code since the tokenizers library breaks ties by chance, and a token that changes its number
    is another word to a network already trained.
    """
    phrases = [word for concept in prompts["concepts"] for word in concept["words"]]
    phrases += [f"{word}s" for word in phrases]
    for key in ("templates", "fillers", "background_phrases", "style_words", "backgrounds"):
        phrases += list(prompts[key])
    phrases += COLOURS
    pieces = {piece for phrase in phrases for piece in re.findall(r"[a-z]+|[0-9]", phrase.lower())}
    words = [[*piece[:-1], f"{piece[-1]}</w>"] for piece in sorted(pieces)]
    merges = []
    while counts := Counter(pair for word in words for pair in pairwise(word)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # ties by the alphabet
        merges.append(best)
        words = [merge(word, best) for word in words]
    return merges


def merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    """The word with each occurrence of the pair made one, from the left."""
    merged: list[str] = []
    for part in word:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def train_tokenizer(prompts: dict[str, Any], folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer for the captions, its vocab.json and merges.txt saved in `folder`."""
    letters, merges = sorted(ByteLevel.alphabet()), learn_merges(prompts)
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["".join(merge) for merge in merges]
    numbered = {token: index for index, token in enumerate([*dict.fromkeys(tokens), START, END])}
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, pairs = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps(numbered, ensure_ascii=False) + "\n")
    pairs.write_text("\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges)]) + "\n")
    return CLIPTokenizer(vocab=str(vocabulary), merges=str(pairs), model_max_length=LENGTH)
