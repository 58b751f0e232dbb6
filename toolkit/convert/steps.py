"""Shares files between steps: the tokenizer beside the weights."""

import os
import shutil
from pathlib import Path

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "config.json",
)


def share_tokenizer(weights: Path, tokenizer: Path) -> None:
    """Hard-links a model directory's tokenizer files (and its config) into `tokenizer`.

    Copies them where the file system has no hard links.
    """
    tokenizer.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        if (weights / name).exists():
            link_or_copy(weights / name, tokenizer / name)


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name, or its copy on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
