"""Repositories of real steps over tiny random weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import weights
from tests.support.repository import (
    CHAT_INPUTS,
    CHAT_OUTPUTS,
    DRAW_INPUTS,
    DRAW_OUTPUTS,
    EMBED_INPUTS,
    ENGINE_INPUTS,
    ENGINE_OUTPUTS,
    PROMPT_INPUTS,
    PROMPT_OUTPUTS,
    Tensors,
    write_ensemble,
    write_step,
)

IMAGE = {"width": 32, "height": 32, "multiple_of": 16, "max_size": 64, "steps": 4}
IMAGE |= {"max_steps": 8, "guidance": 5.0, "max_count": 3}


@dataclass(frozen=True, slots=True)
class Small:
    """Where the weights are, and what computes the same without a server."""

    folder: Path
    table: np.ndarray
    pipeline: Any


def write_small(folder: Path) -> Small:
    """Weights of an embedding model, a diffusion pipeline and a chat tokenizer."""
    folder.mkdir()
    weights.write_chat_tokenizer(folder / "chat")
    weights.write_word_tokenizer(folder / "words")
    table = weights.write_encoder(folder / "encoder.onnx")
    pipeline = weights.make_pipeline(folder / "clip")
    weights.export_pipeline(pipeline, folder)
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    return Small(folder, table, pipeline)


def small_repository(root: Path, small: Small) -> list[str]:
    """`tiny.prompt`, the ensembles `tiny-embedding` and `tiny-diffusion`."""
    return [
        write_prompt(root, "tiny", small.folder / "chat"),
        write_embedding(root, small),
        write_diffusion(root, small),
    ]


def write_prompt(root: Path, name: str, tokenizer: Path, context_length: int = 512) -> str:
    step = write_step(
        root,
        f"{name}.prompt",
        "prompt",
        (PROMPT_INPUTS, PROMPT_OUTPUTS),
        parameters={"context_length": str(context_length)},
    )
    _link(root, step, tokenizer=tokenizer)
    return step


def write_embedding(root: Path, small: Small, name: str = "tiny-embedding") -> str:
    between: Tensors = {"input_ids": ("INT64", [-1]), "attention_mask": ("INT64", [-1])}
    counts: Tensors = {"num_tokens": ("INT32", [1])}
    vectors: Tensors = {"embedding": ("FP32", [8])}
    tokenize = write_step(
        root,
        f"{name}.tokenize",
        "tokenize",
        (EMBED_INPUTS, {**between, **counts}),
        max_batch_size=256,
        parameters={"context_length": "16"},
    )
    _link(root, tokenize, tokenizer=small.folder / "words")
    encoder = write_step(
        root,
        f"{name}.encoder",
        "encoder",
        (between, vectors),
        max_batch_size=256,
        dynamic_batching={},
        ragged=True,
        parameters={"token_budget": "64"},
    )
    _link(root, encoder, **{"model.onnx": small.folder / "encoder.onnx"})
    tokens = {"input_ids": "input_ids", "attention_mask": "attention_mask"}
    return write_ensemble(
        root,
        name,
        (EMBED_INPUTS, {**vectors, **counts}),
        [
            (
                tokenize,
                {"text": "text", "token_ids": "token_ids", "truncate": "truncate"},
                {**tokens, "num_tokens": "num_tokens"},
            ),
            (encoder, tokens, {"embedding": "embedding"}),
        ],
        max_batch_size=256,
    )


def write_diffusion(root: Path, small: Small, name: str = "tiny-diffusion") -> str:
    embeddings: Tensors = {"embeddings": ("FP32", [2, 16, 32])}
    latents: Tensors = {"latents": ("FP32", [-1, 4, -1, -1])}
    texts = {name: DRAW_INPUTS[name] for name in ("prompt", "negative_prompt?")}
    orders = {name: kind for name, kind in DRAW_INPUTS.items() if name not in texts}
    encoder = write_step(
        root,
        f"{name}.text_encoder",
        "text_encoder",
        (texts, {**embeddings, "num_tokens": ("INT32", [1])}),
        parameters={"length": "16"},
    )
    denoise = write_step(
        root,
        f"{name}.denoise",
        "denoise",
        ({**embeddings, **orders}, latents),
        parameters={"image": json.dumps(IMAGE), "latent_scale": "2"},
    )
    scaling = str(small.pipeline.vae.config.scaling_factor)
    decode = write_step(
        root,
        f"{name}.decode",
        "decode",
        (latents, {"image": DRAW_OUTPUTS["image"]}),
        parameters={"scaling_factor": scaling},
    )
    graphs = {step: small.folder / f"{step.rpartition('.')[2]}.onnx" for step in (encoder, denoise)}
    _link(root, encoder, **{"model.onnx": graphs[encoder], "tokenizer": small.folder / "clip"})
    _link(root, denoise, **{"model.onnx": graphs[denoise], "scheduler": small.folder / "scheduler"})
    _link(root, decode, **{"model.onnx": small.folder / "decode.onnx"})
    same = {key: key for key in map(_plain, DRAW_INPUTS)}
    return write_ensemble(
        root,
        name,
        (DRAW_INPUTS, DRAW_OUTPUTS),
        [
            (
                encoder,
                {key: same[key] for key in map(_plain, texts)},
                {"embeddings": "embeddings", "num_tokens": "num_tokens"},
            ),
            (
                denoise,
                {"embeddings": "embeddings"} | {key: same[key] for key in map(_plain, orders)},
                {"latents": "latents"},
            ),
            (decode, {"latents": "latents"}, {"image": "image"}),
        ],
    )


def write_chat(root: Path, name: str, folder: Path, **engine: Any) -> str:
    """The ensemble `name` over vLLM; `folder` holds weights and tokenizer."""
    prompt = write_prompt(root, name, folder)
    arguments = {
        "model": "weights",
        "max_model_len": 512,
        "max_num_seqs": 16,
        "enforce_eager": True,
        "kv_cache_memory_bytes": 64 * 2**20,
        **engine,
    }
    step = write_step(
        root,
        f"{name}.engine",
        "vllm_engine",
        (ENGINE_INPUTS, ENGINE_OUTPUTS),
        model_transaction_policy={"decoupled": True},
        parameters={"engine": json.dumps(arguments)},
    )
    _link(root, step, weights=folder)
    return write_ensemble(
        root,
        name,
        (CHAT_INPUTS, CHAT_OUTPUTS),
        [
            (prompt, {"prompt": "prompt"}, {"token_ids": "token_ids"}),
            (
                step,
                {name: name for name in ("token_ids", "sampling_parameters", "reply", "images")},
                {"event": "event"},
            ),
        ],
        model_transaction_policy={"decoupled": True},
        parameters={
            "toolkit.contract": "1",
            "toolkit.kind": "llm",
            "toolkit.capabilities": json.dumps(["chat", "completion", "tools", "vision"]),
            "toolkit.context_length": "512",
            "toolkit.cancel": step,
        },
    )


def _plain(name: str) -> str:
    return name.rstrip("?")


def _link(root: Path, step: str, **targets: Path) -> None:
    for name, target in targets.items():
        (root / step / "1" / name).symlink_to(target)
