"""The Triton model repository of a TensorRT-LLM checkpoint, in the layout of its LLM API.

`model_repository/tensorrt_llm/` has the config, `1/model.yaml` (what `tensorrt_llm.LLM` gets) and a
`model.py` that runs the code which NVIDIA's image carries (`llmapi_model`). Names and types of the
tensors are those of `triton_backend/all_models/llmapi` in TensorRT-LLM's repository.
"""

import shutil
from pathlib import Path
from textwrap import dedent
from typing import Any

from google.protobuf import text_format

from toolkit.model_config import DataType, ModelConfig, ModelInput, ModelInstanceGroup

IMAGE = "nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3"
NAME = "tensorrt_llm"
_MOST_TOKENS = 8192

_MANY, _ONE = -1, 1
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


def write_repository(place: Path, config: dict[str, Any]) -> None:
    """Writes `model_repository/` and `serve.sh` beside the `checkpoint/` with this config.json."""
    folder = place / "model_repository" / NAME
    version = folder / "1"
    version.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(text_format.MessageToString(model_config()))
    shutil.copyfile(Path(__file__).with_name("llmapi_model.py"), version / "model.py")
    length = min(int(config.get("max_position_embeddings", _MOST_TOKENS)), _MOST_TOKENS)
    (version / "model.yaml").write_text(_settings(length))
    (place / "serve.sh").write_text(
        "#!/usr/bin/env bash\n"
        f"# Runs inside {IMAGE}; `command` in conversion.json starts it.\n"
        "exec tritonserver --model-repository=/model/model_repository\n"
    )


def model_config() -> ModelConfig:
    """Without batching and decoupling: those the image's code sets from model.yaml."""
    config = ModelConfig(name=NAME, backend="python")
    config.instance_group.add(count=1, kind=ModelInstanceGroup.KIND_CPU)
    config.input.append(_input("text_input", "STRING", _MANY, optional=False))
    for name, (kind, size) in _OPTIONAL.items():
        config.input.append(_input(name, kind, size, optional=True))
    for name, (kind, size) in _OUTPUTS.items():
        config.output.add(name=name, data_type=DataType.Value(f"TYPE_{kind}"), dims=[size])
    return config


def _input(name: str, kind: str, size: int, *, optional: bool) -> ModelInput:
    data_type = DataType.Value(f"TYPE_{kind}")
    return ModelInput(name=name, data_type=data_type, dims=[size], optional=optional)


def _settings(length: int) -> str:
    return dedent(
        f"""\
        # Everything but triton_config goes to tensorrt_llm.LLM().
        model: /model/checkpoint
        backend: pytorch
        tensor_parallel_size: 1
        pipeline_parallel_size: 1
        max_seq_len: {length}
        triton_config:
          max_batch_size: 0
          decoupled: true
        """
    )


def command(place: Path) -> str:
    """What serves the directory, on a host with a GPU."""
    return (
        f"docker run --rm --gpus all --network host --shm-size=2g -v {place.absolute()}:/model "
        f"{IMAGE} bash /model/serve.sh"
    )
