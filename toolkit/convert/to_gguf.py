"""Converts a Hugging Face language model to one GGUF file, for a list of architectures.

Each architecture has its own mapping, so one that is not listed is refused rather than guessed.
Invariant: gguf's own reader has read each written tensor again and it equals the source's;
transformers has loaded the file again and computes what the source computes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolkit.convert.checkpoint import architecture as architecture_of
from toolkit.convert.checkpoint import read_config
from toolkit.convert.failures import refusing
from toolkit.convert.gguf import load_gguf
from toolkit.convert.gguf_config import read_gguf_config, refuse_settings
from toolkit.convert.gguf_file import Gguf, read_gguf
from toolkit.convert.gguf_layout import layout
from toolkit.convert.gguf_vocabulary import check_written, read_stop_tokens, write_tokenizer
from toolkit.convert.parity import SENTENCES, Check, check_distributions, record
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import read_tensors
from toolkit.convert.strict import HARMLESS, load, refuse_differences
from toolkit.convert.windows import refuse_window
from toolkit.errors import ConvertError
from toolkit.progress import Progress


@dataclass(frozen=True, slots=True)
class _Architecture:
    """`permuted`: the format wants rotary halves of q and k interleaved, as llama's code had it."""

    name: str
    tensors: gguf.MODEL_ARCH
    permuted: bool


_LLAMA = _Architecture("llama", gguf.MODEL_ARCH.LLAMA, permuted=True)
ARCHITECTURES = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": _Architecture("qwen2", gguf.MODEL_ARCH.QWEN2, permuted=False),
    "Qwen3ForCausalLM": _Architecture("qwen3", gguf.MODEL_ARCH.QWEN3, permuted=False),
}
TYPES = {
    "F32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32, 1e-4),
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16, 1e-3),
    "Q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0, 0.1),
    "Q5_0": (gguf.GGMLQuantizationType.Q5_0, gguf.LlamaFileType.MOSTLY_Q5_0, 2.0),
    "Q4_1": (gguf.GGMLQuantizationType.Q4_1, gguf.LlamaFileType.MOSTLY_Q4_1, 4.0),
    "Q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0, 6.0),
}
"""Type → what tensors and file are marked with, and the largest KL divergence (nats) of any next
token on the parity sentences. The 4-bit limits catch a wrong mapping, not a rough rounding."""


def convert_to_gguf(folder: Path, place: Path, kind: str, progress: Progress) -> Path:
    """Writes `place/NAME-TYPE.gguf` and returns it. Raises ConvertError if GGUF cannot store the
    model, or the written file differs from it."""
    config_json = read_config(folder)
    architecture = _architecture(architecture_of(folder, config_json), config_json)
    if kind not in TYPES:
        raise ConvertError(
            f"the GGUF type '{kind}' does not exist", hint=f"known: {', '.join(TYPES)}"
        )
    name = folder.absolute().name
    file = place / f"{name}-{kind}.gguf"
    with (
        refusing(f"{name} cannot be converted"),
        progress.step("convert to GGUF", total=4, unit="stages") as step,
        quiet(),
    ):
        model = load(AutoModelForCausalLM, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        refuse_window(model.config, "GGUF")
        config = model.config.to_dict()
        stops = read_stop_tokens(folder, config, tokenizer)
        step.advance()
        step.note("write")
        writer = gguf.GGUFWriter(file, architecture.name)
        _write_config(writer, config, kind, name)
        write_tokenizer(writer, tokenizer, int(config["vocab_size"]), stops)
        _write_tensors(writer, model, architecture, config, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        step.advance()
        step.note("compare")
        most = int(config["max_position_embeddings"])
        tokens = [tokenizer(t, return_tensors="pt").input_ids[:, :most] for t in SENTENCES]
        # now, so that the source's memory is free when the file is loaded again
        expected = _logits(model, tokens)
        source = read_gguf(file)
        # what a reader makes of the metadata, against the model: a lost setting changes answers
        again = read_gguf_config(source, file)
        refuse_settings(name, model.config, again, architecture.name)
        del model
        step.advance()
        _compare(source, again, tokenizer, tokens, expected, TYPES[kind][2])
        compare_tensors(folder, source, again)
        step.advance()
    return file


def _architecture(name: str, config: dict[str, Any]) -> _Architecture:
    if name not in ARCHITECTURES:
        raise ConvertError(
            f"the architecture {name} cannot be converted to GGUF",
            hint=f"known: {', '.join(ARCHITECTURES)}",
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ConvertError(
            f"{name} with scaled rotary positions ({rope.get('rope_type')}) cannot be converted"
        )
    if name == "Qwen3ForCausalLM" and config.get("attention_bias"):
        raise ConvertError(
            "attention_bias cannot be stored in GGUF's qwen3, because its readers do not expect it"
        )
    if config.get("quantization_config") is not None:
        raise ConvertError(
            "the checkpoint is quantized (quantization_config in config.json)",
            hint="convert the original weights",
        )
    return ARCHITECTURES[name]


def _write_config(writer: Any, config: dict[str, Any], kind: str, name: str) -> None:
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    writer.add_name(name)
    writer.add_file_type(TYPES[kind][1])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_vocab_size(config["vocab_size"])


def _write_tensors(
    writer: Any, model: Any, architecture: _Architecture, config: dict[str, Any], kind: str
) -> None:
    names = gguf.get_tensor_name_map(architecture.tensors, config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    kept = config.get("num_key_value_heads") or heads
    for name, tensor in model.state_dict().items():
        # readers take the embeddings where the file has no output matrix
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ConvertError(f"{name} cannot be stored in GGUF's {architecture.name}")
        values = tensor.float().numpy()
        if architecture.permuted and ".q_proj." in name:
            values = _interleave(values, heads)
        elif architecture.permuted and ".k_proj." in name:
            values = _interleave(values, kept)
        # norms and biases stay in F32, as llama.cpp's converter writes them
        form = TYPES[kind][0] if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        block = gguf.GGML_QUANT_SIZES[form][0]
        if values.shape[-1] % block:
            # blocks of 32 do not divide every row
            form = gguf.GGMLQuantizationType.F16
        writer.add_tensor(target, gguf.quants.quantize(values, form), raw_dtype=form)


def _interleave(values: Any, heads: int) -> Any:
    """Rows of each head from (first halves, second halves) to pairs, as llama's own code had it."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def compare_tensors(folder: Path, written: Gguf, config: Any) -> None:
    """Compares each tensor in the source's files with the GGUF file's, rounded as its type rounds.

    Raises ConvertError if a tensor is missing or differs.
    """
    known = layout(written.architecture, config)
    left, wrong = set(written.tensors), 0
    for name, tensor in read_tensors(folder).items():
        if HARMLESS.search(name):
            continue
        place = known.place(name)
        if place not in written.tensors:
            if name == "lm_head.weight" and config.tie_word_embeddings:
                continue  # equal to the embeddings, or it had not been loaded
            raise ConvertError(f"{name} was not written: the GGUF file has no {place}")
        with safe_open(folder / tensor.file, framework="pt") as source:
            values = source.get_tensor(name).float().numpy()
        form = written.tensors[place].tensor_type
        # blocks lie within rows, so rounding and the order of rows may be exchanged
        rounded = gguf.quants.dequantize(gguf.quants.quantize(values, form), form)
        wrong += not np.array_equal(known.restore(name, place, written.values(place)), rounded)
        left.discard(place)
    refuse_differences(written.file, set(), left)
    record(
        Check("GGUF tensors", "tensors that are not the source's, rounded", wrong, 0),
        f"{wrong} tensors differ after the conversion",
    )


def _compare(
    source: Gguf, config: Any, tokenizer: Any, tokens: Any, expected: Any, nats: float
) -> None:
    model = load_gguf(source, source.file, config)
    for actual, target in zip(_logits(model, tokens), expected, strict=True):
        check_distributions("GGUF", actual.numpy(), target.numpy(), nats)
    check_written(source.metadata, tokenizer, source.file.name)


def _logits(model: Any, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [model(ids).logits[0] for ids in tokens]
