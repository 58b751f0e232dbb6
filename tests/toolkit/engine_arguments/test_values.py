"""Which values of arguments are refused, for each version of vLLM that a target has."""

from typing import Any

import pytest

from toolkit.engine_arguments import collected, engine
from toolkit.engine_arguments.contents import refused_contents
from toolkit.engine_arguments.together import contradictions
from toolkit.engine_arguments.values import misfits

NEWEST = "0.32.0"
ACCEPTED: list[dict[str, Any]] = [
    {"dtype": "half", "max_num_seqs": 4, "gpu_memory_utilization": 1},
    {"max_num_seqs": None, "hf_token": True, "served_model_name": ["a", "b"]},
    {"limit_mm_per_prompt": {"image": 2, "video": {"count": 1}}},
    {"attention_backend": "flash_attn", "quantization": "fp8"},
    {"attention_backend": "auto", "load_format": "SAFETENSORS", "mamba_backend": "Triton"},
    {"compilation_config": {"mode": 3, "max_cudagraph_capture_size": None}},
    {"compilation_config": {"mode": "vllm_compile", "pass_config": {"fuse_norm_quant": True}}},
    {"compilation_config": {"cudagraph_mode": 2, "custom_ops": ["none", "+rms_norm"]}},
    {"compilation_config": {"compile_sizes": [1, "cudagraph_capture_sizes"]}},
    {"attention_config": {"backend": "auto", "flash_attn_version": 3}},
    {"attention_config": {"backend_per_kind": {"mla_attention": "flashinfer_mla"}}},
    {"kernel_config": {"moe_backend": "deep-gemm", "linear_backend": "Marlin"}},
    {"ir_op_priority": {"rms_norm": "native,vllm_c"}, "optimization_level": 2},
    {"quantization_config": {"linear": "mxfp8", "moe": {"weight": "mxfp4"}}},
    {"pooler_config": {"pooling_type": "LAST", "use_activation": True}},
    {"kv_transfer_config": {"kv_connector": "OffloadingConnector", "kv_role": "kv_both"}},
    {
        "kv_transfer_config": {"kv_connector": "Own", "kv_role": "kv_both"}
        | {"kv_connector_module_path": "own.connector"}
    },
    {"collect_detailed_traces": ["all"], "otlp_traces_endpoint": "http://127.0.0.1:4317"},
    {"limit_mm_per_prompt": {"image": {"count": 2, "width": 64}, "vision_chunk": 1}},
    {"show_hidden_metrics_for_version": "0.30", "worker_cls": "auto", "scheduler_cls": "a.b.C"},
    {"custom_histogram_buckets": {"request_latency": [0.5, 1, 2.5]}},
    {"override_generation_config": {"temperature": 0, "top_p": 1, "eos_token_id": [2, 3]}},
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
    ("quantization", "my.plugin.Method", "does not support", "known: "),
    ("quantization", "awq.marlin", "does not support", "did you mean `awq_marlin`?"),
    ("compilation_config.inductor_passes.p", {"inductor_passes": {"p": "nope"}}, "path", "write"),
    ("compilation_config.inductor_passes.p", {"inductor_passes": {"p": "a..b"}}, "path", "write"),
    ("quantization", "fpp8", "does not support", "did you mean `fp8`?"),
    ("load_format", "safetensor", "does not support", "did you mean `safetensors`?"),
    ("offload_backend", "uvaa", "does not support", "did you mean `uva`?"),
    ("data_parallel_rpc_port", 70000, "at least 1 and at most 65535", None),
    ("cudagraph_capture_sizes.1", [1, "2"], 'is "2"; it must be a whole number', None),
    ("limit_mm_per_prompt.image", {"image": "2"}, "it must be a whole number or a mapping", None),
    ("structured_outputs_config", 5, "is 5; it must be a mapping", None),
    ("structured_outputs_config.backend", {"backend": "xgramar"}, "does", "`xgrammar`"),
    ("compilation_config.cudagraph_moode", {"cudagraph_moode": 1}, "no", "`cudagraph_mode`"),
    ("speculative_config.method", {"method": "ngramm"}, "does not support", "`ngram`"),
    ("compilation_config.mode", {"mode": 9}, "must be one of NONE, 0, STOCK_TORCH_COMPILE", None),
    ("compilation_config.mode", {"mode": "VLLM-COMPILE"}, "does not support", "`VLLM_COMPILE`"),
    ("compilation_config.cudagraph_mode", {"cudagraph_mode": "FULLL"}, "does", "`FULL`"),
    ("compilation_config", 77, "is 77; it must be a mapping", None),
    ("compilation_config.pass_config.fuse_norm", {"pass_config": {"fuse_norm": 1}}, "no", "`fuse_"),
    ("compilation_config.pass_config", {"pass_config": 5}, "must be a mapping", None),
    ("compilation_config.custom_ops.1", {"custom_ops": ["all", "foo"]}, "is", "`+foo`"),
    ("compilation_config.custom_ops", {"custom_ops": ["all", "none"]}, "both", "omit"),
    ("attention_config.backend", {"backend": "FLASHATTN"}, "does not support", "`FLASH_ATTN`"),
    ("attention_config.backend_per_kind.mla", {"backend_per_kind": {"mla": "TRITON_MLA"}}, "", ""),
    ("attention_backend", "flash-attn", "does not support", "`FLASH_ATTN`"),
    ("kernel_config.moe_backend", {"moe_backend": "cutlas"}, "does not support", "`cutlass`"),
    ("kernel_config.enable_jit_warmup", {"enable_jit_warmup": 7}, "true or false", None),
    ("mamba_config.backend", {"backend": "cudaa"}, "does not support", "known: TRITON"),
    ("limit_mm_per_prompt.image", {"image": -1}, "it must be at least 0", None),
    ("limit_mm_per_prompt.images", {"images": 1}, "not a setting", "did you mean `image`?"),
    ("limit_mm_per_prompt.image.widht", {"image": {"widht": 9}}, "not a setting", "`width`"),
    ("speculative_config.method", {"method": "foo"}, "does not support", "known: "),
    ("hf_overrides", 5, "is 5; it must be a mapping", None),
    ("kv_cache_dtype", "fp9", "does not support", "did you mean `fp8`?"),
    ("load_format", "ggufff", "does not support", "known: auto"),
    ("tokenizer_mode", "x", "does not support", "known: auto"),
    ("config_format", "hff", "does not support", "did you mean `hf`?"),
    ("optimization_level", "O2", "does not support", "did you mean `2`?"),
    ("logging_config", {"log_level": "INFO"}, "it must be null", None),
    ("pooler_config.pooling_type", {"pooling_type": "X"}, "does not support", "known: CLS"),
    (
        "quantization_config.linear.weight",
        {"linear": {"weight": "fp7"}},
        "does not support",
        "known",
    ),
    ("quantization_config.linear", {"linear": "mxfp9"}, "does not support", "did you mean `mxfp"),
    ("quantization_config", {"ignore": ["a"]}, "needs linear, moe or targets", "add one"),
    ("watermark_config.key", {"alpha": 0.5}, "is missing", "add `key: …`"),
    ("diffusion_config.canvas_lenght", {"canvas_lenght": 4}, "not a setting", "`canvas_length`"),
    ("override_generation_config.temperatur", {"temperatur": 1}, "not a setting", "`temperature`"),
    ("override_generation_config.top_p", {"top_p": 0}, "more than 0 and at most 1", None),
    ("kv_transfer_config.kv_connector", {"kv_connector": "Foo", "kv_role": "kv_both"}, "does", ""),
    ("kv_transfer_config", {"kv_connector": "OffloadingConnector"}, "needs `kv_role`", "kv_both"),
    ("custom_histogram_buckets.ttft", {"ttft": [1, 2]}, "is not a family of buckets", ""),
    ("custom_histogram_buckets.request_latency", {"request_latency": [2, 1]}, "increase", None),
    ("show_hidden_metrics_for_version", "x", "is not a version", "0.30"),
    ("worker_cls", "nope", "not the path of a class", "package.module.Class"),
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
        {
            "speculative_config": {"method": "ngram", "num_speculative_tokens": 2}
            | {"prompt_lookup_min": 5, "prompt_lookup_max": 2}
        },
        "speculative_config.prompt_lookup_min",
    ),
    ({"speculative_config": {"method": "ngram"}}, "speculative_config"),
    ({"speculative_config": {"num_speculative_tokens": 3}}, "speculative_config"),
    ({"speculative_config": {"method": "eagle"}}, "speculative_config"),
    ({"offload_group_size": 2, "offload_num_in_group": 3}, "offload_num_in_group"),
    ({"collect_detailed_traces": ["all"]}, "collect_detailed_traces"),
    ({"profiler_config": {"profiler": "torch"}}, "profiler_config"),
    ({"mamba_config": {"ssu_algorithm": "vertical"}}, "mamba_config.ssu_algorithm"),
    (
        {
            "engram_config": {"dp_shared_memory": True, "cpu_offload": False},
            "data_parallel_size": 2,
        },
        "engram_config.dp_shared_memory",
    ),
    ({"engram_config": {"use_thp": True, "cpu_offload": False}}, "engram_config.use_thp"),
    ({"engram_config": {"dp_shared_memory": True}}, "engram_config.dp_shared_memory"),
    ({"num_gpu_blocks_override": 3, "block_size": 32}, "num_gpu_blocks_override"),
]


@pytest.mark.parametrize("arguments", ACCEPTED)
def test_values_that_vllm_takes_are_accepted(arguments: dict[str, Any]) -> None:
    assert list(misfits(arguments, engine(NEWEST))) == []
    assert list(refused_contents(arguments, engine(NEWEST))) == []
    assert list(contradictions(arguments, 4096)) == []


@pytest.mark.parametrize(("place", "value", "text", "fix"), REFUSED)
def test_values_that_vllm_refuses_are_named(
    place: str, value: Any, text: str, fix: str | None
) -> None:
    arguments, about = {place.partition(".")[0]: value}, engine(NEWEST)
    ((at, found, hint),) = [*misfits(arguments, about), *refused_contents(arguments, about)]
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
