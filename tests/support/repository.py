"""Small model repositories for tests, and the real server that serves them.

`echo_repository` needs no weights: an ensemble that answers as a language model does, one that
embeds, one that paints. Each function writes one model's folder and returns its name.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from toolkit.backends import backend_files

Tensors = Mapping[str, tuple[str, list[int]]]
"""Name -> (type without TYPE_, dims). A name that ends with `?` is optional."""

ENGINE_INPUTS: Tensors = {
    "token_ids?": ("INT32", [-1]),
    "sampling_parameters?": ("STRING", [1]),
    "reply?": ("STRING", [1]),
    "images?": ("STRING", [-1]),
    "cancel?": ("STRING", [1]),
    "text_input?": ("STRING", [1]),
    "stream?": ("BOOL", [1]),
    "exclude_input_in_output?": ("BOOL", [1]),
    "return_finish_reason?": ("BOOL", [1]),
    "return_cumulative_logprob?": ("BOOL", [1]),
    "return_logprobs?": ("BOOL", [1]),
    "return_num_input_tokens?": ("BOOL", [1]),
    "return_num_output_tokens?": ("BOOL", [1]),
}
ENGINE_OUTPUTS: Tensors = {
    "event": ("STRING", [-1]),
    "text_output": ("STRING", [-1]),
    "finish_reason": ("STRING", [-1]),
    "cumulative_logprob": ("FP32", [-1]),
    "logprobs": ("STRING", [-1]),
    "num_input_tokens": ("UINT32", [1]),
    "num_output_tokens": ("UINT32", [-1]),
}
PROMPT_INPUTS: Tensors = {"prompt": ("STRING", [1])}
PROMPT_OUTPUTS: Tensors = {"token_ids": ("INT32", [-1]), "text": ("STRING", [-1])}
CHAT_INPUTS: Tensors = {
    "prompt": ("STRING", [1]),
    "sampling_parameters?": ("STRING", [1]),
    "reply?": ("STRING", [1]),
    "images?": ("STRING", [-1]),
}
CHAT_OUTPUTS: Tensors = {"event": ("STRING", [-1])}
EMBED_INPUTS: Tensors = {
    "text": ("STRING", [1]),
    "token_ids?": ("INT32", [-1]),
    "truncate?": ("BOOL", [1]),
}
DRAW_INPUTS: Tensors = {
    "prompt": ("STRING", [1]),
    "negative_prompt?": ("STRING", [1]),
    "steps?": ("INT32", [1]),
    "guidance?": ("FP32", [1]),
    "width?": ("INT32", [1]),
    "height?": ("INT32", [1]),
    "seed?": ("INT64", [1]),
    "count?": ("INT32", [1]),
    "stop_after?": ("INT32", [1]),
}
DRAW_OUTPUTS: Tensors = {"image": ("STRING", [-1]), "num_tokens": ("INT32", [1])}


def write_step(
    root: Path,
    name: str,
    kind: str,
    tensors: tuple[Tensors, Tensors],
    **config: Any,
) -> str:
    """A Python-backend model of one kind.

    `config` holds further fields, `parameters` as a dict; `ragged` lets its requests differ in
    shape within a batch.
    """
    parameters = {
        "EXECUTION_ENV_PATH": "$$TRITON_MODEL_DIRECTORY/../.environments/"
        + ("vllm" if kind == "vllm_engine" else "onnx"),
        **config.pop("parameters", {}),
    }
    config.setdefault("instance_group", [{"kind": "KIND_CPU", "count": 1}])
    fields = {"backend": "python", "parameters": parameters, **config}
    version = write_config(root, name, tensors, fields) / "1"
    for destination, source in backend_files(kind).items():
        target = version / destination
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return name


def write_ensemble(
    root: Path,
    name: str,
    tensors: tuple[Tensors, Tensors],
    steps: Iterable[tuple[str, Mapping[str, str], Mapping[str, str]]],
    **config: Any,
) -> str:
    """An ensemble; each step is (model, input -> ensemble tensor, output -> ensemble tensor)."""
    scheduling = {
        "step": [
            {"model_name": model, "model_version": -1, "input_map": ins, "output_map": outs}
            for model, ins, outs in steps
        ]
    }
    fields = {"platform": "ensemble", "ensemble_scheduling": scheduling, **config}
    write_config(root, name, tensors, fields)
    return name


def write_echo_chat(root: Path, name: str = "echo", **parameters: str) -> str:
    """The ensemble `name` and its scripted engine `name.engine`; both are to be loaded."""
    inputs = {
        "prompt?": ("STRING", [1]),
        "sampling_parameters?": ("STRING", [1]),
        "reply?": ("STRING", [1]),
        "images?": ("STRING", [-1]),
        "cancel?": ("STRING", [1]),
        "stats?": ("STRING", [1]),
    }
    outputs = {"event": ("STRING", [-1]), "stats": ("STRING", [1])}
    engine = write_step(
        root,
        f"{name}.engine",
        "echo",
        (inputs, outputs),
        parameters={"mode": "llm", "context_length": "4096"},
        model_transaction_policy={"decoupled": True},
    )
    public = {
        "toolkit.kind": "llm",
        "toolkit.capabilities": json.dumps(["chat", "completion", "tools", "vision"]),
        "toolkit.context_length": "4096",
        "toolkit.cancel": engine,
    }
    same = {key: key for key in ("prompt", "sampling_parameters", "reply", "images")}
    return write_ensemble(
        root,
        name,
        (CHAT_INPUTS, CHAT_OUTPUTS),
        [(engine, same, {"event": "event"})],
        model_transaction_policy={"decoupled": True},
        parameters=_public({**public, **parameters}),
    )


def write_echo_embedding(root: Path, name: str = "echo-embedding", **parameters: str) -> str:
    """The ensemble `name` over `name.encoder`, 8 dimensions, 256 tokens."""
    tensors = (EMBED_INPUTS, {"embedding": ("FP32", [8]), "num_tokens": ("INT32", [1])})
    step = write_step(
        root,
        f"{name}.encoder",
        "echo",
        tensors,
        max_batch_size=64,
        parameters={"mode": "embedding"},
    )
    public = {
        "toolkit.kind": "embedding",
        "toolkit.capabilities": json.dumps(["embedding"]),
        "toolkit.context_length": "256",
        "toolkit.dimensions": "8",
    }
    return write_ensemble(
        root,
        name,
        tensors,
        [(step, _same(tensors[0]), _same(tensors[1]))],
        max_batch_size=64,
        parameters=_public({**public, **parameters}),
    )


def write_echo_diffusion(root: Path, name: str = "echo-diffusion", **parameters: str) -> str:
    """The ensemble `name` over `name.decode`: images of one colour."""
    tensors = (DRAW_INPUTS, DRAW_OUTPUTS)
    step = write_step(root, f"{name}.decode", "echo", tensors, parameters={"mode": "diffusion"})
    image = {"width": 32, "height": 32, "multiple_of": 8, "max_size": 1024, "steps": 20}
    image |= {"max_steps": 100, "guidance": 4.0, "max_count": 4}
    public = {
        "toolkit.kind": "diffusion",
        "toolkit.capabilities": json.dumps(["image"]),
        "toolkit.image": json.dumps(image),
    }
    return write_ensemble(
        root,
        name,
        tensors,
        [(step, _same(tensors[0]), _same(tensors[1]))],
        parameters=_public({**public, **parameters}),
    )


def echo_repository(root: Path) -> list[str]:
    """All three echo models; returns the ensembles' names. Loading them loads their steps."""
    return [write_echo_chat(root), write_echo_embedding(root), write_echo_diffusion(root)]


def _public(parameters: Mapping[str, str]) -> dict[str, str]:
    return {
        "toolkit.contract": "1",
        "toolkit.aliases": "[]",
        "toolkit.source": "test",
        "toolkit.digest": "0" * 64,
        "toolkit.owned_by": "test",
        **parameters,
    }


def _same(tensors: Tensors) -> dict[str, str]:
    return {name.rstrip("?"): name.rstrip("?") for name in tensors}


def write_config(
    root: Path, name: str, tensors: tuple[Tensors, Tensors], fields: dict[str, Any]
) -> Path:
    """A model's folder with its config; `fields` are those besides its tensors."""
    folder = root / name
    (folder / "1").mkdir(parents=True)
    parameters = {
        key: {"string_value": value} for key, value in fields.pop("parameters", {}).items()
    }
    ins = [
        {**_tensor(key, value), "optional": key.endswith("?")} for key, value in tensors[0].items()
    ]
    outs = [_tensor(key, value) for key, value in tensors[1].items()]
    if fields.pop("ragged", False):
        ins = [{**tensor, "allow_ragged_batch": True} for tensor in ins]
    fields = {"name": name, "input": ins, "output": outs, "parameters": parameters, **fields}
    config = json_format.ParseDict(fields, model_config_pb2.ModelConfig())
    text = text_format.MessageToString(config)
    if not config.max_batch_size:
        text += "max_batch_size: 0\n"
    (folder / "config.pbtxt").write_text(text)
    return folder


def _tensor(name: str, value: tuple[str, list[int]]) -> dict[str, Any]:
    return {"name": name.rstrip("?"), "data_type": f"TYPE_{value[0]}", "dims": value[1]}
