"""Which values of arguments are refused, for each version of vLLM that a target has."""

from typing import Any

import pytest

from toolkit.engine_arguments import collected, engine
from toolkit.engine_arguments.together import contradictions
from toolkit.engine_arguments.values import misfits

NEWEST = "0.32.0"
ACCEPTED: list[dict[str, Any]] = [
    {"dtype": "half", "max_num_seqs": 4, "gpu_memory_utilization": 1},
    {"max_num_seqs": None, "hf_token": True, "served_model_name": ["a", "b"]},
    {"limit_mm_per_prompt": {"image": 2, "video": {"count": 1}}},
    {"attention_backend": "flash-attn", "quantization": "my.plugin.Method"},
    {"compilation_config": 3, "optimization_level": 2},
    {"compilation_config": {"cudagraph_mode": "FULL", "custom_ops": ["none"]}},
    {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}},
    {"override_generation_config": {"temperature": 0.1}, "logits_processors": ["a.b.C"]},
]
REFUSED: list[tuple[str, Any, str, str | None]] = [
    ("dtype", "float1", 'is "float1", which vLLM does not support', "did you mean `float16`?"),
    ("max_num_seqs", -3, "is -3; it must be at least 1", None),
    ("max_num_seqs", True, "is true; it must be a whole number or null", None),
    ("max_num_seqs", 1.5, "is 1.5; it must be a whole number or null", None),
    ("gpu_memory_utilization", 2.0, "is 2.0; it must be more than 0 and at most 1", None),
    ("gpu_memory_utilization", float("nan"), "more than 0 and at most 1", None),
    ("enforce_eager", 1, "is 1; it must be true or false", None),
    ("max_lora_rank", 17, "it must be one of 1, 8, 16", None),
    ("quantization", "fpp8", "does not know", "did you mean `fp8`?"),
    ("load_format", "safetensor", "does not know", "did you mean `safetensors`?"),
    ("offload_backend", "uvaa", "does not know", "did you mean `uva`?"),
    ("data_parallel_rpc_port", 70000, "at least 1 and at most 65535", None),
    ("cudagraph_capture_sizes.1", [1, "2"], 'is "2"; it must be a whole number', None),
    ("limit_mm_per_prompt.image", {"image": "2"}, "it must be a whole number or a mapping", None),
    ("structured_outputs_config", 5, "is 5; it must be a mapping", None),
    ("structured_outputs_config.backend", {"backend": "xgramar"}, "does", "`xgrammar`"),
    ("compilation_config.cudagraph_moode", {"cudagraph_moode": 1}, "no", "`cudagraph_mode`"),
    ("speculative_config.method", {"method": "ngramm"}, "does not know", "`ngram`"),
    ("max_nun_seqs", 4, "vLLM 0.32.0 has no such argument", "did you mean `max_num_seqs`?"),
]
TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({"max_num_batched_tokens": 8, "max_num_seqs": 16}, "max_num_batched_tokens"),
    ({"max_num_batched_tokens": 64, "enable_chunked_prefill": False}, "max_num_batched_tokens"),
    ({"long_prefill_token_threshold": 256}, "long_prefill_token_threshold"),
    ({"max_loras": 4, "max_cpu_loras": 2}, "max_loras"),
    ({"data_parallel_rank": 2, "data_parallel_size": 2}, "data_parallel_rank"),
    (
        {"tensor_parallel_size": 3, "decode_context_parallel_size": 2},
        "decode_context_parallel_size",
    ),
    ({"enable_eplb": True}, "enable_eplb"),
    ({"enable_eplb": True, "enable_expert_parallel": True}, "enable_eplb"),
    ({"eplb_config": {"num_redundant_experts": 2}}, "eplb_config.num_redundant_experts"),
    ({"numa_bind_nodes": [0]}, "numa_bind_nodes"),
    ({"node_rank": 1}, "node_rank"),
    ({"attention_backend": "A", "attention_config": {"backend": "A"}}, "attention_backend"),
    (
        {"speculative_config": {"prompt_lookup_min": 5, "prompt_lookup_max": 2}},
        "speculative_config.prompt_lookup_min",
    ),
]


@pytest.mark.parametrize("arguments", ACCEPTED)
def test_values_that_vllm_takes_are_accepted(arguments: dict[str, Any]) -> None:
    assert list(misfits(arguments, engine(NEWEST))) == []
    assert list(contradictions(arguments, 4096)) == []


@pytest.mark.parametrize(("place", "value", "text", "fix"), REFUSED)
def test_values_that_vllm_refuses_are_named(
    place: str, value: Any, text: str, fix: str | None
) -> None:
    ((at, found, hint),) = misfits({place.partition(".")[0]: value}, engine(NEWEST))
    assert ".".join(map(str, at)) == place
    assert text in found
    assert hint is None if fix is None else fix in (hint or "")


@pytest.mark.parametrize("version", collected())
def test_every_version_declares_choices_and_ranges(version: str) -> None:
    wrong = {"dtype": "float1", "max_num_seqs": -3, "gpu_memory_utilization": 2.0, "seed": "x"}
    found = {at[0] for at, _, _ in misfits(wrong, engine(version))}
    assert found == wrong.keys()
    about = engine(version)
    assert {"hermes", "mistral"} <= set(about.tool_parsers)
    assert "deepseek_r1" in about.reasoning_parsers
    assert "LlamaForCausalLM" in about.generates
    assert "BertModel" in about.pools


@pytest.mark.parametrize(("arguments", "place"), TOGETHER)
def test_values_that_exclude_each_other_are_named(arguments: dict[str, Any], place: str) -> None:
    ((at, text, _),) = contradictions(arguments, 128)
    assert ".".join(map(str, at)) == place
    assert text
