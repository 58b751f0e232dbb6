"""Converts a GGUF file, split or whole, to a Hugging Face directory in bfloat16 for vLLM.

Transformers reads and dequantizes the tensors. Invariant: every written tensor is bit for bit the
value of gguf's own reader, rounded to bfloat16; both sides have the same tensors; and the written
model computes what the source computes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from toolkit.convert import gguf_layout
from toolkit.convert.checkpoint import cache_bytes_per_token
from toolkit.convert.describe import describe
from toolkit.convert.failures import refusing
from toolkit.convert.gguf_config import ROPE_FACTORS, read_gguf_config
from toolkit.convert.gguf_file import Gguf, as_one_file, read_gguf
from toolkit.convert.gguf_tokenizer import save_tokenizer
from toolkit.convert.parity import SENTENCES, Check, check_distributions, record
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import read_tensors
from toolkit.convert.steps import share_tokenizer
from toolkit.convert.strict import load, refuse_differences
from toolkit.errors import ConvertError
from toolkit.kinds.llm.facts import LlmFacts
from toolkit.progress import Progress

MAX_DIVERGENCE_NATS = 0.01
"""Rounding 4-bit weights to bfloat16 costs 0.0005 nats at most on SmolLM2-135M."""


def convert_gguf(file: Path, place: Path, progress: Progress) -> LlmFacts:
    """Writes `engine/weights/` (safetensors, config, tokenizer) and `prompt/tokenizer/`.

    Raises ConvertError for files and architectures that cannot be read, for tensors that are
    missing or that the model has no place for, and when the result differs from its source.
    """
    weights = place / "engine" / "weights"
    with (
        refusing(f"{file.name} cannot be converted"),
        progress.step("convert to safetensors", total=4, unit="stages") as step,
        quiet(),
    ):
        source = read_gguf(file)
        gguf_layout.check_architecture(source.file.name, source.architecture)
        with as_one_file(source, place) as whole:
            config = read_gguf_config(source, whole)
            step.advance()
            step.note("tokenizer")
            tokenizer = save_tokenizer(source.metadata, whole, weights)
            tokens = _tokens(tokenizer, config)
            step.advance()
            step.note("tensors")
            expected = _save(source, whole, config, weights, tokens)
        step.advance()
        step.note("compare")
        _compare(weights, tokens, expected)
        compare_tensors(source, weights, config)
        step.advance()
    share_tokenizer(weights, place / "prompt" / "tokenizer")
    return LlmFacts(
        context_length=int(config.max_position_embeddings),
        chat="tokenizer.chat_template" in source.metadata,
        cache_bytes_per_token=cache_bytes_per_token(config.to_dict()),
        details=describe(weights),
    )


def _tokens(tokenizer: Any, config: Any) -> list[torch.Tensor]:
    """INT64 `[1, L]` each: the parity sentences, within the model's context."""
    most = int(config.max_position_embeddings)
    rows = [tokenizer(text, return_tensors="pt").input_ids[:, :most] for text in SENTENCES]
    return [row for row in rows if row.numel()]


def load_gguf(source: Gguf, whole: Path, config: Any) -> Any:
    """The model in float32, its tensors checked by name. Raises ConvertError, naming the tensors,
    if some are missing, unknown or of another shape."""
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        whole.parent,
        gguf_file=whole.name,
        config=config,
        dtype=torch.float32,
        output_loading_info=True,
        # differences are collected and refused below, all of them and in one form
        ignore_mismatched_sizes=True,
    )
    model, report = loaded
    with torch.device("meta"):
        expected = type(model)._from_config(config).state_dict()
    shapes = {  # the library puts a tensor of any shape into its place
        (name, tuple(tensor.shape), tuple(expected[name].shape))
        for name, tensor in model.state_dict().items()
        if tensor.shape != expected[name].shape
    }
    refuse_differences(source.file, report["missing_keys"], report["unexpected_keys"], shapes)
    return model.eval()


def _save(
    source: Gguf, whole: Path, config: Any, weights: Path, tokens: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Saves the model rounded to bfloat16; returns the exact model's logits for `tokens`."""
    model = load_gguf(source, whole, config)
    # now, because `to` below rounds the model in place
    expected = _logits(model, tokens)
    # Transformers takes the model for a quantized one and would refuse to cast or save it.
    model.hf_quantizer = None
    model.is_quantized = False
    model._weight_conversions = None  # so that experts get their published names
    for name in ("quantization_config", "_name_or_path"):
        if hasattr(model.config, name):
            delattr(model.config, name)
    # engines stop by generation_config.json; the library's reader knows only the first of them
    model.generation_config.eos_token_id = stop_tokens(source.metadata)
    model.to(torch.bfloat16).save_pretrained(weights)
    return expected


def compare_tensors(source: Gguf, weights: Path, config: Any) -> None:
    """Compares the written tensors and the source's with gguf's own reading of the source.

    Raises ConvertError if a tensor is missing or differs.
    """
    known = gguf_layout.layout(source.architecture, config)
    left, wrong = set(source.tensors) - {ROPE_FACTORS}, 0
    for name, tensor in read_tensors(weights).items():
        place = known.place(name)
        if place not in source.tensors:
            raise ConvertError(
                f"{source.file.name} does not contain {place}, which {name} is made of"
            )
        # one tensor at a time: all of them in float32 are twice the model's size
        values = torch.from_numpy(known.restore(name, place, source.values(place)))
        with safe_open(weights / tensor.file, framework="pt") as written:
            wrong += not torch.equal(written.get_tensor(name), values.to(torch.bfloat16))
        left.discard(place)
    refuse_differences(source.file, set(), left)
    record(
        Check("GGUF tensors", "tensors that are not the source's rounded to bfloat16", wrong, 0),
        f"{wrong} tensors of {source.file.name} differ after the conversion",
    )


def stop_tokens(metadata: dict[str, Any]) -> int | list[int] | None:
    """The token ids that end an answer: end of text, and end of turn where it is another."""
    names = ("eos_token_id", "eot_token_id", "eom_token_id")
    values = [metadata.get(f"tokenizer.ggml.{name}") for name in names]
    ids = list(dict.fromkeys(int(value) for value in values if value is not None))
    return ids[0] if len(ids) == 1 else ids or None


def _compare(weights: Path, tokens: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    model = load(AutoModelForCausalLM, weights, dtype=torch.bfloat16)
    # in float32, so that only the weights' rounding is measured, not bfloat16 arithmetic
    for actual, target in zip(_logits(model.float(), tokens), expected, strict=True):
        check_distributions(
            "GGUF to safetensors",
            np.asarray(actual.numpy()),
            np.asarray(target.numpy()),
            MAX_DIVERGENCE_NATS,
        )


def _logits(model: Any, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [model(ids).logits[0] for ids in tokens]
