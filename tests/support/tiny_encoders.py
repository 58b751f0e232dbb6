"""Encoders of random weights, with the positions of their architecture: sentence-transformers'."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from tests.support.tiny_models import WORDS, save_tokenizer

_CHAIN = {
    "Transformer": ("", "sentence_transformers.models.Transformer"),
    "Pooling": ("1_Pooling", "sentence_transformers.models.Pooling"),
    "Normalize": ("2_Normalize", "sentence_transformers.models.Normalize"),
}
_WIDTH = 16


def save_encoder(
    folder: Path, architecture: str, *, normalize: bool = True, longest: int = 0, **config: Any
) -> Path:
    """Transformer → mean pooling → perhaps Normalize; `longest` is the chain's own limit."""
    torch.manual_seed(3)
    sizes = {
        "vocab_size": len(WORDS) + 4,
        "hidden_size": _WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "initializer_range": 0.5,
        "pad_token_id": 0,
    }
    AutoModel.from_config(AutoConfig.for_model(architecture, **sizes | config)).save_pretrained(
        folder
    )
    save_tokenizer(folder, segments=False)
    names = [*_CHAIN] if normalize else [*_CHAIN][:2]
    modules = [
        {"idx": index, "name": str(index), "path": _CHAIN[name][0], "type": _CHAIN[name][1]}
        for index, name in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": _WIDTH, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "2_Normalize").mkdir()
    if longest:
        about = {"max_seq_length": longest, "do_lower_case": False}
        (folder / "sentence_bert_config.json").write_text(json.dumps(about))
    return folder
