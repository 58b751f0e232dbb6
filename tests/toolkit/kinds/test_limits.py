"""Engine arguments that do not fit a language model's weights are refused when it is built."""

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import ConvertError
from toolkit.kinds.llm.limits import check_cache, check_weights

NGRAMS = {"architectures": ["DeepseekV41ForCausalLM"], "engram_layer_ids": [2]}
PLAIN = {"num_attention_heads": 9, "num_hidden_layers": 4}
AWQ = PLAIN | {"quantization_config": {"quant_method": "awq"}}


def _weights(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("config", "arguments", "text", "fix"),
    [
        (PLAIN, {"tensor_parallel_size": 2}, "model's 9 attention heads", "one of 1, 3, 9"),
        ({"text_config": PLAIN}, {"tensor_parallel_size": 4}, "9 attention heads", "1, 3, 9"),
        (PLAIN, {"pipeline_parallel_size": 5}, "more than the model's 4 layers", "4 or less"),
        (PLAIN, {"quantization": "awq_marlin"}, "weights are not quantized", "omit it"),
        (AWQ, {"quantization": "gptq"}, "quantized with 'awq'", "omit it"),
        (PLAIN, {"hf_overrides": {"num_hidden_layers": "x"}}, "config has 4", "same type"),
        (PLAIN, {"engram_config": {}}, "no n-gram layers", "omit it"),
        (NGRAMS | {"engram_layer_ids": []}, {"engram_config": {"use_thp": True}}, "no n-g", "omit"),
        (PLAIN, {"hf_overrides": {"num_hidden_layers": True}}, "config has 4", "same type"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    tmp_path: Path, config: dict[str, Any], arguments: dict[str, Any], text: str, fix: str
) -> None:
    with pytest.raises(ConvertError, match=text) as refused:
        check_weights(arguments, _weights(tmp_path, config))
    assert fix in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        (PLAIN, {"tensor_parallel_size": 3, "pipeline_parallel_size": 4, "quantization": "fp8"}),
        (AWQ, {"quantization": "awq_marlin"}),
        (NGRAMS, {"engram_config": {"cpu_offload": False}}),
        ({}, {"tensor_parallel_size": 8}),
        (PLAIN, {"hf_overrides": {"num_hidden_layers": 2, "rope_theta": 1e6}}),
    ],
)
def test_arguments_that_fit_are_accepted(
    tmp_path: Path, config: dict[str, Any], arguments: dict[str, Any]
) -> None:
    check_weights(arguments, _weights(tmp_path, config))


def test_a_cache_for_less_than_one_request_is_refused() -> None:
    with pytest.raises(ConvertError, match="is 1000, and one request of 1024 tokens") as refused:
        check_cache({"kv_cache_memory_bytes": 1000}, 1024, 23040)
    assert refused.value.field == ("engine_args", "kv_cache_memory_bytes")
    check_cache({"kv_cache_memory_bytes": 1024 * 23040}, 1024, 23040)
    check_cache({}, 1024, 23040)
