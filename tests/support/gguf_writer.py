"""Writes any model as GGUF, as llama.cpp's converter lays tensors out; and splits files.

For tests of reading: written after the format's description, apart from what reads it here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers.core_model_loading import revert_weight_conversion
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

Change = Callable[[dict[str, Any]], Any]


def write_gguf(
    file: Path, model: Any, architecture: str, tokens: dict[str, Any], change: Change | None = None
) -> Path:
    """`tokens` are metadata of the tokenizer; `change` gets names and numbers of the tensors."""
    config = model.config
    writer = gguf.GGUFWriter(file, architecture)
    for key, value in (_metadata(config, architecture) | tokens).items():
        _add(writer, key, value)
    tensors = _tensors(model, architecture)
    if change is not None:
        change(tensors)
    for name, values in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(values))
    _close(writer)
    return file


def split_gguf(file: Path, parts: int) -> list[Path]:
    """Writes NAME-00001-of-0000N.gguf … beside `file`, as llama.cpp's gguf-split does."""
    reader = gguf.GGUFReader(file)
    found = []
    for number in range(parts):
        path = file.with_name(f"{file.stem}-{number + 1:05}-of-{parts:05}.gguf")
        writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
        for field in reader.fields.values() if number == 0 else ():
            if not field.name.startswith(("GGUF.", "general.architecture")):
                kind = field.types[0]
                inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", parts)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in reader.tensors[number::parts]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        _close(writer)
        found.append(path)
    return found


def tokenizer_metadata(tokenizer: Any, style: str) -> dict[str, Any]:
    """Of a byte-level BPE tokenizer."""
    import json

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    words = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    added = tokenizer.added_tokens_decoder
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": style,
        "tokenizer.ggml.tokens": [word for word, _ in words],
        "tokenizer.ggml.token_type": [3 if index in added else 1 for _, index in words],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in content["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
    }


def _close(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: Any, key: str, value: Any) -> None:
    kinds = {str: "string", float: "float32", int: "uint32", list: "array"}
    getattr(writer, f"add_{kinds[type(value)]}")(key, value)


def _metadata(config: Any, architecture: str) -> dict[str, Any]:
    """What transformers reads, and what llama.cpp's converter writes beyond that."""
    mapping = GGUF_CONFIG_MAPPING[config.model_type.removesuffix("_text")]
    values = {
        key: getattr(config, field, None)
        for key, field in mapping.items()
        if isinstance(field, str) and key != "vocab_size"
    }
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    values |= {"attention.key_length": size, "attention.value_length": size}
    values["context_length"] = config.max_position_embeddings
    if architecture != "gpt2":
        rope = config.rope_parameters
        values["rope.freq_base"] = rope.get("full_attention", rope)["rope_theta"]
        values["rope.dimension_count"] = size
    for key, field in {
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
        "expert_feed_forward_length": "moe_intermediate_size",
        "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    }.items():
        values[key] = getattr(config, field, None)
    return {f"{architecture}.{key}": value for key, value in values.items() if value is not None}


def _tensors(model: Any, architecture: str) -> dict[str, Any]:
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], model.config.num_hidden_layers)
    experts: dict[str, dict[int, Any]] = {}
    found: dict[str, Any] = {}
    tied = model.config.tie_word_embeddings
    for name, tensor in revert_weight_conversion(model, model.state_dict()).items():
        if name == "lm_head.weight" and tied:
            continue
        parts = name.split(".experts.")
        stem = name if len(parts) == 1 else f"{parts[0]}.experts.{parts[1].split('.', 1)[1]}"
        place = names.get_name(stem, try_suffixes=(".weight", ".bias"))
        assert place is not None, name
        values = tensor.float().numpy()
        if len(parts) > 1:
            experts.setdefault(place, {})[int(parts[1].split(".")[0])] = values
        else:
            found[place] = _laid_out(place, values, model.config, architecture)
    for place, each in experts.items():
        found[place] = np.stack([each[number] for number in sorted(each)])
    return found


def _laid_out(place: str, values: Any, config: Any, architecture: str) -> Any:
    last = place.rsplit(".", 2)[-2]
    if architecture == "llama" and last in {"attn_q", "attn_k"}:
        heads = config.num_attention_heads if last == "attn_q" else config.num_key_value_heads
        halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        return halves.swapaxes(1, 2).reshape(values.shape)
    if architecture in {"gemma2", "gemma3"} and place.endswith("norm.weight"):
        return values + np.float32(1)
    transposed = {"attn_qkv", "attn_output", "ffn_up", "ffn_down"}
    if architecture == "gpt2" and place.endswith("weight") and last in transposed:
        return values.T
    return values[0] if last == "ffn_gate_inp_shexp" else values
