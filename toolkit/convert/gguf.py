"""A GGUF file → a Hugging Face directory in bfloat16 that vLLM loads, and its tokenizer.

Transformers reads and dequantizes the tensors. Invariant: what is kept has been loaded again and is
bit for bit the source rounded to bfloat16, and answers like it.
"""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

from toolkit.convert.checkpoint import cache_bytes_per_token
from toolkit.convert.describe import describe
from toolkit.convert.gguf_tokenizer import save_tokenizer
from toolkit.convert.parity import SENTENCES, check_distributions
from toolkit.convert.quiet import quiet
from toolkit.convert.steps import share_tokenizer
from toolkit.errors import ConvertError
from toolkit.facts import LlmFacts
from toolkit.progress import Progress

MAX_DIVERGENCE_NATS = 0.01
"""Rounding 4-bit weights to bfloat16 costs 0.0005 nats at most on SmolLM2-135M."""


def convert_gguf(file: Path, place: Path, progress: Progress) -> LlmFacts:
    """Writes `engine/weights/` (safetensors, config, tokenizer) and `prompt/tokenizer/`.

    Raises ConvertError for files and architectures that cannot be read, and when the result
    differs by more than `MAX_DIVERGENCE_NATS`.
    """
    weights = place / "engine" / "weights"
    with progress.step("convert to safetensors", total=4, unit="stages") as step, quiet():
        metadata = _metadata(file)
        step.advance()
        step.note("tokenizer")
        tokenizer = save_tokenizer(metadata, file, weights)
        tokens = [tokenizer(text, return_tensors="pt").input_ids for text in SENTENCES]
        step.advance()
        step.note("tensors")
        wanted = _save(file, metadata, weights, tokens)
        step.advance()
        step.note("compare")
        _compare(weights, tokens, wanted)
        step.advance()
        config = AutoConfig.from_pretrained(weights)
    share_tokenizer(weights, place / "prompt" / "tokenizer")
    return LlmFacts(
        context_length=int(config.max_position_embeddings),
        chat="tokenizer.chat_template" in metadata,
        cache_bytes_per_token=cache_bytes_per_token(config.to_dict()),
        details=describe(weights),
    )


def _metadata(file: Path) -> dict[str, Any]:
    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, IndexError, OSError) as error:
        raise ConvertError(
            f"{file.name} is no readable GGUF file: {error}", hint="is it cut short?"
        ) from error
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    architecture = metadata.get("general.architecture")
    if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        raise ConvertError(
            f"{file.name} has the architecture '{architecture}', which cannot be read from GGUF",
            hint=f"known: {', '.join(sorted(GGUF_SUPPORTED_ARCHITECTURES))};"
            " or name the original safetensors directory as `source`",
        )
    return metadata


def _save(
    file: Path, metadata: dict[str, Any], weights: Path, tokens: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Saves the model rounded to bfloat16; returns the exact model's logits for `tokens`."""
    model: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    wanted = _logits(model, tokens)
    # Transformers takes the model for a quantized one and would refuse to cast or save it.
    model.hf_quantizer = None
    model.is_quantized = False
    for name in ("quantization_config", "_name_or_path"):
        if hasattr(model.config, name):
            delattr(model.config, name)
    model.generation_config.eos_token_id = stop_tokens(metadata)
    model.to(torch.bfloat16).save_pretrained(weights)
    return wanted


def stop_tokens(metadata: dict[str, Any]) -> int | list[int] | None:
    """The token ids that end an answer: end of text, and end of turn where it is another."""
    names = ("eos_token_id", "eot_token_id", "eom_token_id")
    found = [metadata.get(f"tokenizer.ggml.{name}") for name in names]
    ids = list(dict.fromkeys(int(value) for value in found if value is not None))
    return ids[0] if len(ids) == 1 else ids or None


def _compare(weights: Path, tokens: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.bfloat16)
    for found, target in zip(_logits(model.float(), tokens), wanted, strict=True):
        check_distributions(
            "GGUF to safetensors",
            np.asarray(found.numpy()),
            np.asarray(target.numpy()),
            MAX_DIVERGENCE_NATS,
        )


def _logits(model: Any, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [model(ids).logits[0] for ids in tokens]
