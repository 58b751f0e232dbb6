"""What several conversions hand to more than one step: the tokenizer beside the weights."""

import os
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
    """Hard-links a model directory's tokenizer files (and its config) into `tokenizer`."""
    tokenizer.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        if (weights / name).exists():
            os.link(weights / name, tokenizer / name)
