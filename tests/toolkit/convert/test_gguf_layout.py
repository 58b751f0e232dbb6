"""Every architecture that is read from GGUF, and what of a GGUF file is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tests.support.checkpoint import tree
from tests.support.gguf_writer import split_gguf, tokenizer_metadata, write_gguf
from tests.support.tiny_language import tiny_tokenizer
from toolkit.convert.gguf import convert_gguf
from toolkit.convert.gguf_layout import ARCHITECTURES
from toolkit.convert.quiet import quiet
from toolkit.convert.run import Request, convert
from toolkit.errors import ConvertError
from toolkit.progress import silent
from toolkit.spec import PathSource
from toolkit.weights.fetch import fetch

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


def drop(tensors: dict[str, Any]) -> None:
    del tensors["blk.1.ffn_up.weight"]


def rename(tensors: dict[str, Any]) -> None:
    tensors["blk.1.ffn_upper.weight"] = tensors.pop("blk.1.ffn_up.weight")


def add(tensors: dict[str, Any]) -> None:
    tensors["blk.2.ffn_up.weight"] = tensors["blk.1.ffn_up.weight"]


def add_rope_factors(tensors: dict[str, Any]) -> None:
    tensors["rope_freqs.weight"] = np.array([1, 2, 3, 4], np.float32)


def reshape(tensors: dict[str, Any]) -> None:
    tensors["blk.1.ffn_up.weight"] = tensors["blk.1.ffn_up.weight"][:32]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, "missing: model.layers.1.mlp.up_proj.weight"),
        (rename, "missing: model.layers.1.mlp.up_proj.weight"),
        (add, "unexpected: blk.2.ffn_up.weight"),
        (reshape, r"up_proj.weight \[32, 64\] instead of \[96, 64\]"),
        (add_rope_factors, "rope_freqs.weight is not Llama 3's rescaling"),
    ],
)
def test_a_gguf_file_without_one_of_its_tensors_is_refused_by_name(
    tmp_path: Path, change: Any, message: str
) -> None:
    written(tmp_path / "a.gguf", "llama", change)
    with pytest.raises(ConvertError, match=message):
        convert(tmp_path / "a.gguf", Request("safetensors"), tmp_path / "out", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


def test_llama_3s_rescaled_positions_are_read(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }

    def factors(tensors: dict[str, Any]) -> None:
        plain = 500000.0 ** -(np.arange(0, 64, 2) / 64)
        turned, _ = ROPE_INIT_FUNCTIONS["llama3"](model.config, "cpu")
        tensors["rope_freqs.weight"] = (plain / turned.numpy()).astype(np.float32)

    sizes = {"head_dim": 64, "num_attention_heads": 2}
    model = model_of("llama", rope_parameters=rope, **sizes)
    written(tmp_path / "a.gguf", "llama", factors, rope_parameters=rope, **sizes)
    convert(tmp_path / "a.gguf", Request("safetensors"), tmp_path / "out", silent)
    ids = torch.arange(3, 120)[None]
    with quiet(), torch.inference_mode():
        kept: Any = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "out", dtype=torch.float32
        )
        assert torch.allclose(kept(ids).logits, model(ids).logits, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("llama.rope.scaling.type", "yarn", "positions rescaled by 'yarn'"),
        (
            "llama.attention.scale",
            0.5,
            r"llama.attention.scale \(0.5\), which the toolkit cannot read",
        ),
        ("llama.attention.sliding_window", 8, "which llama does not support"),
        ("llama.attention.head_count", [2, 4], "not one number above 0"),
        ("llama.attention.value_length", 16, "keys and values of different lengths"),
        ("llama.rope.dimension_count", 4, "rotary positions to 4 of 8 numbers"),
        ("split.count", 3, "was split into 3"),
    ],
)
def test_metadata_that_decides_answers_is_read_or_refused_by_name(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    with quiet():
        tokens = tokenizer_metadata(tiny_tokenizer("smollm"), "smollm")
        write_gguf(tmp_path / "a.gguf", model_of("llama"), "llama", tokens | {key: value})
    with pytest.raises(ConvertError, match=message):
        convert(tmp_path / "a.gguf", Request("safetensors"), tmp_path / "out", silent)


def test_a_split_file_is_read_as_the_whole_one_whichever_part_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a.gguf", "llama")
    parts = split_gguf(tmp_path / "a.gguf", 3)
    for number, file in enumerate((tmp_path / "a.gguf", parts[0], parts[2])):
        convert(file, Request("safetensors"), tmp_path / f"out{number}", silent)
    trees = [tree(tmp_path / f"out{number}") for number in range(3)]
    for each in trees:
        del each["conversion.json"]  # it names the source
    assert trees[0] == trees[1] == trees[2]


def test_missing_parts_of_a_split_file_are_named(tmp_path: Path) -> None:
    written(tmp_path / "a.gguf", "llama")
    parts = split_gguf(tmp_path / "a.gguf", 3)
    whole = fetch(PathSource(str(parts[0])), tmp_path, silent).digest
    parts[1].unlink()
    assert fetch(PathSource(str(parts[0])), tmp_path, silent).digest != whole
    with pytest.raises(ConvertError, match=r"a-00002-of-00003\.gguf is not beside it"):
        convert(parts[0], Request("safetensors"), tmp_path / "out", silent)
    parts[2].rename(parts[1])
    parts[0].rename(parts[2])
    with pytest.raises(ConvertError, match=r"a-00001-of-00003\.gguf is not beside it"):
        convert(parts[2], Request("safetensors"), tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


def test_what_transformers_reads_wrongly_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both models that are compared by their answers come from its reader."""
    from transformers import modeling_gguf_pytorch_utils as reader

    monkeypatch.setitem(reader.TENSOR_PROCESSORS, "llama", reader.TensorProcessor)
    written(tmp_path / "a.gguf", "llama")
    with pytest.raises(ConvertError, match=r"\d tensors of a\.gguf differ after the conversion"):
        convert(tmp_path / "a.gguf", Request("safetensors"), tmp_path / "out", silent)
