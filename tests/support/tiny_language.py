"""A causal language model of random weights with a real byte-level tokenizer, made in a second."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    Ernie4_5Config,
    Ernie4_5ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from toolkit.convert.gguf_tokenizer import splitter
from toolkit.convert.parity import SENTENCES
from toolkit.quantize.texts import load_evaluation

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"

_MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": True}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {"tie_word_embeddings": False}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"tie_word_embeddings": True, "head_dim": 32}),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": None}),
    "phi3": (
        Phi3ForCausalLM,
        Phi3Config,
        {"original_max_position_embeddings": 512, "pad_token_id": 2},
    ),
    "granite": (
        GraniteForCausalLM,
        GraniteConfig,
        {"embedding_multiplier": 2.0, "residual_multiplier": 0.7, "logits_scaling": 2.0},
    ),
    "ernie": (Ernie4_5ForCausalLM, Ernie4_5Config, {"tie_word_embeddings": True}),
}
ARCHITECTURES = tuple(_MODELS)
"""Those that are also written as ONNX decoders."""
_MODELS |= {
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, {"head_dim": 16, "pad_token_id": 2}),
    "mixtral": (
        MixtralForCausalLM,
        MixtralConfig,
        {"num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": None},
    ),
    "gpt2": (GPT2LMHeadModel, GPT2Config, {"n_inner": 128}),
}


def save_tiny_language(
    folder: Path,
    *,
    architecture: str = "llama",
    style: str = "smollm",
    width: int = 64,
    **other: Any,
) -> Path:
    """Two layers, grouped-query attention, every linear input a multiple of 32.

    `other` goes to the model's configuration.
    """
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(style)
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
    kind, config, own = _MODELS[architecture]
    model = kind(config(**sizes | own | other))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name or "bias" in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer(style: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 400 tokens that cuts words in the named way."""
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
