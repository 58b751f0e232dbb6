"""A causal language model of random weights with a real byte-level tokenizer, made in a second."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from toolkit.convert.gguf_tokenizer import splitter
from toolkit.convert.parity import SENTENCES
from toolkit.quantize.texts import load_evaluation

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"


def save_tiny_language(
    folder: Path, *, architecture: str = "llama", style: str = "smollm", width: int = 64
) -> Path:
    """Two layers, grouped-query attention, every linear input a multiple of 32."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(style)
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.2,  # large enough that a wrong mapping shows in the logits
    }
    model = (
        LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=True))
        if architecture == "llama"
        else Qwen2ForCausalLM(Qwen2Config(**sizes, tie_word_embeddings=False))
    )
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name or "bias" in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(style: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = splitter(style, style)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=["<|begin|>", "<|end|>", "<|endoftext|>"],
        initial_alphabet=pre.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, *load_evaluation(None)], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast
