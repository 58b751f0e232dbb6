"""Sizes of public models from their config.json alone, and the errors for other files."""

from typing import Any

import pytest

from tests.toolkit.fit import configs
from toolkit.errors import SourceError
from toolkit.fit.architecture import read_architecture
from toolkit.fit.quantization import (
    cache_number_bytes,
    number_bytes,
    read_precision,
    weight_bytes,
)

PUBLISHED = {
    "LLAMA_8B": 8_030_261_248,
    "LLAMA_70B": 70_553_706_496,
    "QWEN2_7B": 7_615_616_512,
    "MIXTRAL": 46_702_792_704,
    "GEMMA2_9B": 9_241_705_984,
    "DEEPSEEK_V3": 671_026_419_200,
    "QWEN3_30B_A3B": 30_532_122_624,
    "GPT2": 124_439_808,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_number(name: str) -> None:
    found = read_architecture(getattr(configs, name)).parameters
    assert found == pytest.approx(PUBLISHED[name], rel=0.01)


@pytest.mark.parametrize(
    ("name", "numbers", "attention"),
    [
        ("LLAMA_8B", 2 * 8 * 128 * 32, "GQA 32:8"),
        ("QWEN2_7B", 2 * 4 * 128 * 28, "GQA 28:4"),
        ("MISTRAL_7B", 2 * 8 * 128 * 32, "GQA 32:8, window in 32 of 32 layers"),
        ("GEMMA2_9B", 2 * 8 * 256 * 42, "GQA 16:8, window in 21 of 42 layers"),
        ("DEEPSEEK_V3", (512 + 64) * 61, "MLA"),
        ("GPT2", 2 * 768 * 12, "MHA"),
    ],
)
def test_what_a_token_leaves_in_the_cache(name: str, numbers: int, attention: str) -> None:
    found = read_architecture(getattr(configs, name))
    assert (found.numbers_per_token, found.attention) == (numbers, attention)


def windows(config: dict[str, Any]) -> list[int | None]:
    layers = read_architecture(config).layers
    return [0 if not layer.numbers else layer.window for layer in layers]


def test_windows_of_mixed_layers() -> None:
    four = configs.LLAMA_8B | {"num_hidden_layers": 4}
    types = ["sliding_attention", "full_attention", "linear_attention", "chunked_attention"]
    assert windows(four | {"sliding_window": 128, "layer_types": types}) == [128, None, 0, 128]
    assert windows(four | {"full_attention_interval": 4}) == [0, 0, 0, None]
    assert windows(four | {"attn_layer_period": 2, "attn_layer_offset": 1}) == [0, None, 0, None]
    every = {"sliding_window": 512, "sliding_window_pattern": 2}
    assert windows(four | every) == [512, None, 512, None]
    asked = {"sliding_window": 512, "use_sliding_window": True, "max_window_layers": 3}
    assert windows(four | asked) == [None, None, None, 512]


def test_multi_query_and_nested_configs() -> None:
    falcon = {"model_type": "falcon", "hidden_size": 4544, "num_attention_heads": 71}
    falcon |= {"num_hidden_layers": 32, "vocab_size": 65024, "multi_query": True}
    assert read_architecture(falcon).kv_heads == 1
    pictures = {"text_config": configs.LLAMA_8B, "vision_config": {"hidden_size": 1}}
    assert read_architecture(pictures).numbers_per_token == 65536


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SourceError, match=r"config\.json of mine does not contain hidden_size"):
        read_architecture({"model_type": "llama"}, "mine")


def test_quantized_weights() -> None:
    found = read_architecture(configs.LLAMA_8B)
    gptq = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
    packed = {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}},
        }
    }
    plain = weight_bytes(found, read_precision({}, "bfloat16", ""))
    assert plain == 2 * found.parameters
    for config in (gptq, packed):
        # the published INT4 checkpoints of this model take 5.7 GB
        size = weight_bytes(found, read_precision(config, "bfloat16", ""))
        assert size == pytest.approx(5.74e9, rel=0.02)
    fp8 = weight_bytes(found, read_precision({}, "bfloat16", "fp8"))
    assert fp8 == pytest.approx(9.08e9, rel=0.02)  # as published, embeddings in 16 bits
    assert read_precision(configs.DEEPSEEK_V3, "bfloat16", "").bits == 8
    eight = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}
    assert read_precision(eight, "bfloat16", "").bits == 8


def test_number_types() -> None:
    assert [number_bytes(name) for name in ("torch.float32", "bfloat16", "half", "?")] == [
        4, 2, 2, 2,
    ]  # fmt: skip
    assert [cache_number_bytes(name, 4) for name in ("auto", "fp8_e5m2", "bfloat16")] == [4, 1, 2]
