"""Every architecture that is read from GGUF: tensors and answers of the model it came from."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.toolkit.gguf_writer import tokenizer_metadata, write_gguf
from tests.toolkit.tiny_language import tiny_tokenizer
from toolkit.convert.gguf import convert_gguf
from toolkit.convert.gguf_layout import ARCHITECTURES
from toolkit.convert.quiet import quiet
from toolkit.progress import silent

_SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "initializer_range": 0.2,
}
_EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma2": ("Gemma2", {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}),
    "gemma3": ("Gemma3", {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}),
    "gpt2": ("GPT2", {"n_inner": None}),
    "llama": ("Llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 8}),
    "phi3": ("Phi3", {}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2moe": ("Qwen2Moe", _EXPERTS | {"shared_expert_intermediate_size": 48}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "qwen3moe": ("Qwen3Moe", _EXPERTS | {"head_dim": 8, "norm_topk_prob": True}),
    "starcoder2": ("Starcoder2", {}),
}


def model_of(architecture: str, **other: Any) -> Any:
    """A model of random weights in bfloat16's numbers, so that rounding to it changes nothing."""
    torch.manual_seed(0)
    name, own = _MODELS[architecture]
    config_name = f"{name}TextConfig" if name == "Gemma3" else f"{name}Config"
    sizes = _SIZES | {"vocab_size": len(tiny_tokenizer("smollm"))}
    config = getattr(transformers, config_name)(**sizes | own | other)
    suffix = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
    model = getattr(transformers, name + suffix)(config)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.1 * torch.randn_like(tensor))
            tensor.copy_(tensor.to(torch.bfloat16))  # the tables of positions stay as they are
    return model.eval()


def written(file: Path, architecture: str, change: Any = None, **other: Any) -> Any:
    """The model that `file` holds afterwards."""
    with quiet():
        model = model_of(architecture, **other)
        tokens = tokenizer_metadata(tiny_tokenizer("smollm"), "smollm")
        write_gguf(file, model, architecture, tokens, change)
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_answers_as_the_model_it_came_from(
    tmp_path: Path, architecture: str
) -> None:
    model = written(tmp_path / "a.gguf", architecture)
    convert_gguf(tmp_path / "a.gguf", tmp_path / "out", silent)
    weights = tmp_path / "out" / "engine" / "weights"
    ids = torch.arange(3, 80)[None]  # longer than the sliding windows above
    with quiet(), torch.inference_mode():
        kept: Any = transformers.AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
        assert torch.allclose(kept(ids).logits, model(ids).logits, atol=2e-2, rtol=2e-2)
