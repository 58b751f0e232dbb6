"""A repository of models of other builders, with the tensors that NVIDIA publishes for them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.repository import Tensors, write_config, write_ensemble
from tests.support.triton import Server, serve

_ONE: list[int] = [1]
VLLM_INPUTS: Tensors = {
    "text_input": ("STRING", _ONE),
    "image?": ("STRING", [-1]),
    "stream?": ("BOOL", _ONE),
    "sampling_parameters?": ("STRING", _ONE),
    "exclude_input_in_output?": ("BOOL", _ONE),
    "return_finish_reason?": ("BOOL", _ONE),
    "return_cumulative_logprob?": ("BOOL", _ONE),
    "return_logprobs?": ("BOOL", _ONE),
    "return_num_input_tokens?": ("BOOL", _ONE),
    "return_num_output_tokens?": ("BOOL", _ONE),
    "embedding_request?": ("STRING", _ONE),
}
VLLM_OUTPUTS: Tensors = {
    "text_output": ("STRING", [-1]),
    "finish_reason": ("STRING", [-1]),
    "cumulative_logprob": ("FP32", [-1]),
    "logprobs": ("STRING", [-1]),
    "num_input_tokens": ("UINT32", _ONE),
    "num_output_tokens": ("UINT32", [-1]),
}
OLD_VLLM_INPUTS = {
    name: VLLM_INPUTS[name]
    for name in ("text_input", "stream?", "sampling_parameters?", "exclude_input_in_output?")
}
"""Of the release 24.10."""
OLDER_VLLM_INPUTS = {
    name: tensor for name, tensor in VLLM_INPUTS.items() if name != "embedding_request?"
}
"""Of the releases 24.12 to 25.10."""
ENSEMBLE_INPUTS: Tensors = {
    "text_input": ("STRING", _ONE),
    "max_tokens": ("INT32", _ONE),
    "bad_words?": ("STRING", [-1]),
    "stop_words?": ("STRING", [-1]),
    "exclude_input_in_output?": ("BOOL", _ONE),
    "end_id?": ("INT32", _ONE),
    "pad_id?": ("INT32", _ONE),
    "top_k?": ("INT32", _ONE),
    "top_p?": ("FP32", _ONE),
    "temperature?": ("FP32", _ONE),
    "length_penalty?": ("FP32", _ONE),
    "repetition_penalty?": ("FP32", _ONE),
    "min_tokens?": ("INT32", _ONE),
    "presence_penalty?": ("FP32", _ONE),
    "frequency_penalty?": ("FP32", _ONE),
    "seed?": ("UINT64", _ONE),
    "stream?": ("BOOL", _ONE),
    "guided_decoding_guide_type?": ("STRING", _ONE),
    "guided_decoding_guide?": ("STRING", _ONE),
}
LLMAPI_INPUTS: Tensors = {
    "text_input": ("STRING", [-1]),
    "streaming?": ("BOOL", _ONE),
    "sampling_param_best_of?": ("INT32", _ONE),
    "sampling_param_temperature?": ("FP32", _ONE),
    "sampling_param_top_k?": ("INT32", _ONE),
    "sampling_param_top_p?": ("FP32", _ONE),
    "sampling_param_frequency_penalty?": ("FP32", _ONE),
    "sampling_param_presence_penalty?": ("FP32", _ONE),
    "sampling_param_max_tokens?": ("INT32", _ONE),
    "sampling_param_stop?": ("STRING", [-1]),
    "sampling_param_seed?": ("UINT64", _ONE),
    "sampling_param_exclude_input_from_output?": ("BOOL", _ONE),
    "return_finish_reason?": ("BOOL", _ONE),
    "return_stop_reason?": ("BOOL", _ONE),
    "stop?": ("BOOL", _ONE),
}
LLMAPI_OUTPUTS: Tensors = {
    "text_output": ("STRING", [-1]),
    "finish_reason": ("STRING", [-1]),
    "stop_reason": ("STRING", [-1]),
}
TEXT_OUTPUT: Tensors = {"text_output": ("STRING", [-1])}
_COUNTER: tuple[Tensors, Tensors] = (
    {"QUERY": ("STRING", _ONE), "REQUEST_OUTPUT_LEN": ("INT32", _ONE)},
    {"REQUEST_INPUT_LEN": ("INT32", _ONE)},
)
_STATES: tuple[Tensors, Tensors] = (
    {"input_ids": ("INT64", [-1, -1]), "attention_mask": ("INT64", [-1, -1])},
    {"last_hidden_state": ("FP32", [-1, -1, 2])},
)
MODELS = (
    *("vllm_model", "older_vllm", "old_vllm", "ensemble", "tensorrt_llm_api"),
    *("texts", "states"),
)


def write_plain(root: Path) -> None:
    """All models that `MODELS` names, and the steps of `ensemble`."""
    decoupled = {"model_transaction_policy": {"decoupled": True}}
    _write(root, "vllm_model", "vllm", (VLLM_INPUTS, VLLM_OUTPUTS), **decoupled)
    _write(root, "older_vllm", "vllm", (OLDER_VLLM_INPUTS, VLLM_OUTPUTS), **decoupled)
    _write(root, "old_vllm", "vllm", (OLD_VLLM_INPUTS, TEXT_OUTPUT), **decoupled)
    _write(root, "tensorrt_llm_api", "llmapi", (LLMAPI_INPUTS, LLMAPI_OUTPUTS), **decoupled)
    engine = _write(
        root, "tensorrt_llm", "ensemble", (ENSEMBLE_INPUTS, TEXT_OUTPUT), max_batch_size=8
    )
    counter = _write(root, "preprocessing", "counter", _COUNTER, max_batch_size=8)
    same = {name.rstrip("?"): name.rstrip("?") for name in ENSEMBLE_INPUTS}
    write_ensemble(
        root,
        "ensemble",
        (ENSEMBLE_INPUTS, {**TEXT_OUTPUT, "prompt_length": ("INT32", _ONE)}),
        [
            (
                counter,
                {"QUERY": "text_input", "REQUEST_OUTPUT_LEN": "max_tokens"},
                {"REQUEST_INPUT_LEN": "prompt_length"},
            ),
            (engine, same, {"text_output": "text_output"}),
        ],
        max_batch_size=8,
    )
    texts: tuple[Tensors, Tensors] = {"TEXT": ("STRING", _ONE)}, {"VECTOR": ("FP32", [3])}
    _write(root, "texts", "texts", texts, max_batch_size=4)
    _write(root, "states", "states", _STATES)


@contextmanager
def versioned_triton(folder: Path) -> Iterator[Server]:
    """A Triton that serves the versions 1 and 2 of `chat`, and `other`."""
    root = folder / "model_repository"
    root.mkdir()
    decoupled = {"model_transaction_policy": {"decoupled": True}}
    both = {"version_policy": {"specific": {"versions": [1, 2]}}}
    _write(root, "chat", "vllm", (VLLM_INPUTS, VLLM_OUTPUTS), **decoupled, **both)
    shutil.copytree(root / "chat" / "1", root / "chat" / "2")
    _write(root, "other", "vllm", (VLLM_INPUTS, VLLM_OUTPUTS), **decoupled)
    with serve(root, ("chat", "other"), folder) as server:
        yield server


@contextmanager
def plain_triton(folder: Path) -> Iterator[Server]:
    """A Triton that serves them all."""
    root = folder / "model_repository"
    root.mkdir()
    write_plain(root)
    with serve(root, MODELS, folder) as server:
        yield server
        # Triton 2.51 never unloads a model whose stream was left before its end, as clients do here
        server.child.kill()


def _write(
    root: Path, name: str, mode: str, tensors: tuple[Tensors, Tensors], **config: Any
) -> str:
    path = "$$TRITON_MODEL_DIRECTORY/../.environments/onnx"
    parameters = {"EXECUTION_ENV_PATH": path, "mode": mode}
    groups = [{"kind": "KIND_CPU", "count": 1}]
    fields = {"backend": "python", "parameters": parameters, "instance_group": groups, **config}
    folder = write_config(root, name, tensors, fields)
    shutil.copyfile(Path(__file__).with_name("plain_model.py"), folder / "1" / "model.py")
    return name
