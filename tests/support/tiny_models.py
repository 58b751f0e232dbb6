"""Tiny models with random weights, saved as their authors would publish them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

WORDS = ("paris", "is", "the", "capital", "of", "france", "berlin", "germany", "a", "cat", "sat")


def save_tokenizer(folder: Path, segments: bool = True) -> PreTrainedTokenizerFast:
    """Words to ids, as BERT writes pairs; unknown ones become [UNK]."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    inner = Tokenizer(WordLevel({name: place for place, name in enumerate(names)}, "[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if segments else [])]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=inputs,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS) + 4,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
"""Of an encoder of two layers that knows `WORDS`, for the config classes of transformers."""


def save_cross_encoder(
    folder: Path, *, labels: int = 1, segments: bool = True, pad: int = 0
) -> Path:
    """A cross-encoder of two layers: BERT with segments, RoBERTa without."""
    torch.manual_seed(5)
    sizes = SIZES | {"num_labels": labels, "pad_token_id": pad, "initializer_range": 1.0}
    model: torch.nn.Module
    if segments:
        model = BertForSequenceClassification(BertConfig(**sizes))
    else:
        model = RobertaForSequenceClassification(RobertaConfig(**sizes, type_vocab_size=1))
    model.save_pretrained(folder)
    save_tokenizer(folder, segments)
    return folder
