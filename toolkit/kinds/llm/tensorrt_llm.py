"""How a language model runs in TensorRT-LLM: `prompt` → `engine`, and `tensorrt_llm` behind it.

`tensorrt_llm` is NVIDIA's own model: names and types of its tensors are those of
`triton_backend/all_models/llmapi` in TensorRT-LLM's repository, `model.yaml` holds what
`tensorrt_llm.LLM` gets. `engine` translates the contract. Nothing here was run on a GPU.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.errors import ConvertError
from toolkit.finding import FieldFinding
from toolkit.kinds.parts import Step, Tensor

STEP = "tensorrt_llm"
FAMILIES = frozenset(
    {"llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "phi3", "deepseek_v3"}
    | {"gemma3", "gemma3_text"}
)
"""`model_type` of what TensorRT-LLM's PyTorch backend documents as supported."""
_SET_BY_US = {"model": "source", "max_seq_len": "context_length", "backend": "engine"}
_NOT_HERE = {
    "adapters": "LoRA adapters are served by engine: vllm",
    "priority": "TensorRT-LLM orders its queue by itself",
    "tool_parser": "replies are not parsed for tool calls; use engine: vllm",
    "reasoning_parser": "replies are not parsed for reasoning; use engine: vllm",
    "fim": "use engine: vllm",
    "grammars": "grammars are served by engine: vllm",
    "environment": "set variables of the container",
    "warmup": "the model warms up by itself",
    "quantization": "run `toolkit convert --to tensorrt-llm --fp8` (or --awq, --nvfp4) and name "
    "its checkpoint folder as `source`",
}
_MANY, _ONE = (-1,), (1,)
_OPTIONAL = {
    "streaming": ("BOOL", _ONE),
    "sampling_param_best_of": ("INT32", _ONE),
    "sampling_param_temperature": ("FP32", _ONE),
    "sampling_param_top_k": ("INT32", _ONE),
    "sampling_param_top_p": ("FP32", _ONE),
    "sampling_param_frequency_penalty": ("FP32", _ONE),
    "sampling_param_presence_penalty": ("FP32", _ONE),
    "sampling_param_max_tokens": ("INT32", _ONE),
    "sampling_param_stop": ("STRING", _MANY),
    "sampling_param_seed": ("UINT64", _ONE),
    "sampling_param_exclude_input_from_output": ("BOOL", _ONE),
    "sampling_param_return_perf_metrics": ("BOOL", _ONE),
    "return_finish_reason": ("BOOL", _ONE),
    "return_stop_reason": ("BOOL", _ONE),
    "return_cumulative_logprob": ("BOOL", _ONE),
    "stop": ("BOOL", _ONE),
}
_OUTPUTS = {
    "text_output": ("STRING", _MANY),
    "finish_reason": ("STRING", _MANY),
    "stop_reason": ("STRING", _MANY),
    "cumulative_logprob": ("FP32", _MANY),
    "kv_cache_reused_block": ("INT32", _MANY),
    "kv_cache_missed_block": ("INT32", _MANY),
    "kv_cache_alloc_new_blocks": ("INT32", _MANY),
    "kv_cache_alloc_total_blocks": ("INT32", _MANY),
    "kv_cache_hit_rate": ("FP32", _MANY),
    "arrival_time_ns": ("INT64", _ONE),
    "first_scheduled_time_ns": ("INT64", _ONE),
    "first_token_time_ns": ("INT64", _ONE),
    "last_token_time_ns": ("INT64", _ONE),
    "acceptance_rate": ("FP32", _ONE),
    "total_accepted_draft_tokens": ("INT32", _ONE),
    "total_draft_tokens": ("INT32", _ONE),
}


def llmapi_step(name: str) -> Step:
    """NVIDIA's model, without batching and decoupling: its code sets those from model.yaml."""
    optional = [Tensor(each, kind, dims, True) for each, (kind, dims) in _OPTIONAL.items()]
    return Step(
        name=name,
        environment=None,
        inputs=(Tensor("text_input", "STRING", _MANY), *optional),
        outputs=[Tensor(each, kind, dims) for each, (kind, dims) in _OUTPUTS.items()],
    )


def engine_step(name: str, context_length: int, inputs: tuple[Tensor, ...], event: Tensor) -> Step:
    """Our engine step `<name>.engine`, which asks `<name>.tensorrt_llm`."""
    return Step(
        name=f"{name}.engine",
        environment=None,
        inputs=inputs,
        outputs=(event,),
        parameters={"model": f"{name}.{STEP}", "context_length": context_length},
        decoupled=True,
    )


def model_yaml(model: str, length: int, arguments: Mapping[str, Any]) -> str:
    """The arguments of `tensorrt_llm.LLM()`, and those of Triton below `triton_config`."""
    settings = {
        "model": model,
        "backend": "pytorch",
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "max_seq_len": length,
        **arguments,
    }
    lines = [f"{name}: {_scalar(value)}" for name, value in settings.items()]
    # NVIDIA's code writes these over what config.pbtxt says
    lines += ["triton_config:", "  max_batch_size: 0", "  decoupled: true"]
    return "\n".join(["# Everything but triton_config goes to tensorrt_llm.LLM().", *lines]) + "\n"


def _scalar(value: object) -> str:
    """JSON is YAML; plain words stay as people write them."""
    plain = isinstance(value, str) and value.replace("/", "").replace("_", "").isalnum()
    return str(value) if plain else json.dumps(value)


def check_family(name: str, family: str, *, vision: bool) -> None:
    """Raises ConvertError for weights that TensorRT-LLM is not known to load."""
    # no family: the weights are not known yet, and nothing is refused early
    if vision or (family and family not in FAMILIES):
        what = "takes images" if vision else f"is a {family} model"
        raise ConvertError(
            f"'{name}' {what}, and TensorRT-LLM is not known to load that",
            hint=f"use engine: vllm; known: {', '.join(sorted(FAMILIES))}",
        )


def engine_findings(fields: set[str], arguments: Mapping[str, Any]) -> Iterator[FieldFinding]:
    """Fields of an entry that TensorRT-LLM does not support; `fields` are those that are set."""
    for field, reason in _NOT_HERE.items():
        if field in fields:
            yield (field,), "is not a field for engine: tensorrt-llm", reason
    for argument in arguments:
        if argument in _SET_BY_US:
            hint = f"use `{_SET_BY_US[argument]}`"
            yield ("engine_args", argument), "is set by the toolkit", hint
