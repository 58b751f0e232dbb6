"""A sentence-transformers directory → one ONNX graph: tokens in, normalized vectors out.

The graph holds pooling and L2 normalization. Only `torch.onnx.export(dynamo=True)` is used: the
older exporter wrote MiniLM without an error and with cosine 0.79 to its source.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.base.modules.transformer import Transformer
from sentence_transformers.sentence_transformer.modules.pooling import Pooling
from transformers import AutoConfig, AutoModel

from toolkit.convert.failures import refusing
from toolkit.convert.graph import export, run
from toolkit.convert.parity import SENTENCES, check_close
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import read_tensors
from toolkit.convert.strict import check_names, compare_with_files
from toolkit.errors import ConvertError
from toolkit.facts import EmbeddingFacts
from toolkit.progress import Progress

TOLERANCE = 1e-4
"""Largest difference of a vector's element; a right export differs by about 3e-7."""


class _Encoder(torch.nn.Module):
    """INT64 `[B, L]` ids and mask → FP32 `[B, D]`."""

    def __init__(self, body: torch.nn.Module, pooling: str) -> None:
        super().__init__()
        self._body = body
        self._pooling = pooling

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self._body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self._pooling == "cls":
            pooled = hidden[:, 0]
        else:
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(pooled, dim=-1)


def convert_encoder(folder: Path, place: Path, progress: Progress) -> EmbeddingFacts:
    """Writes `encoder/model.onnx` and `tokenize/tokenizer/` below `place`.

    Raises ConvertError for a directory or a chain of modules that cannot be read, and when vectors
    differ from the source's by more than `TOLERANCE`.
    """
    with progress.step("convert to ONNX", total=3, unit="stages") as step, quiet():
        source = _load(folder)
        pooling = _pooling(source)
        step.advance()
        step.note("export")
        graph = place / "encoder" / "model.onnx"
        _export(source, pooling, graph)
        _save_tokenizer(source, place / "tokenize" / "tokenizer")
        step.advance()
        step.note("compare")
        dimensions = _compare(source, graph)
        _compare_random(source, pooling, graph)
        step.advance()
    return EmbeddingFacts(dimensions=dimensions, context_length=_context_length(source))


def _load(folder: Path) -> SentenceTransformer:
    if not (folder / "config.json").exists():
        raise ConvertError(
            f"{folder} is no model directory: it has no config.json",
            hint="`source` must be a sentence-transformers or Hugging Face directory",
        )
    with refusing(f"{folder.name} cannot be loaded"):
        place = _weights(folder)
        tensors = read_tensors(place)
        config = AutoConfig.from_pretrained(place, local_files_only=True)
        shapes = {tensor.name: tensor.shape for tensor in tensors.values()}
        check_names(AutoModel, config, shapes, folder, body=True)
        source = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        )
        _pooling(source)
        compare_with_files(_body(source), place, tensors)
    return source


def _weights(folder: Path) -> Path:
    """Where the transformer's own files are: the first of the modules."""
    modules = folder / "modules.json"
    return folder / json.loads(modules.read_text())[0]["path"] if modules.exists() else folder


def _pooling(source: SentenceTransformer) -> str:
    """The pooling mode; the chain must be Transformer, Pooling and perhaps Normalize."""
    names = [type(module).__name__ for module in source]
    modules = list(source)
    if (
        len(modules) < 2
        or not isinstance(modules[0], Transformer)
        or not isinstance(modules[1], Pooling)
        or not all(isinstance(module, Normalize) for module in modules[2:])
    ):
        raise ConvertError(
            f"cannot convert the modules {' → '.join(names)}",
            hint="supported: Transformer → Pooling (mean or cls) → Normalize",
        )
    mode = modules[1].pooling_mode
    if mode not in {"mean", "cls"}:
        raise ConvertError(f"cannot convert the pooling '{mode}'", hint="supported: mean, cls")
    return str(mode)


def _body(source: SentenceTransformer) -> Any:
    """The transformer itself, a Hugging Face model."""
    return source[0].auto_model


def _context_length(source: SentenceTransformer) -> int:
    positions = getattr(_body(source).config, "max_position_embeddings", None)
    limits = [int(limit) for limit in (source.max_seq_length, positions) if limit]
    return min(limits, default=512)


def _export(source: SentenceTransformer, pooling: str, file: Path) -> None:
    # Two texts of two lengths: the exporter takes an axis of size 1 for a constant.
    example = source.tokenizer(list(SENTENCES[:2]), padding=True, return_tensors="pt")
    axes = {0: "batch", 1: "length"}
    export(
        _Encoder(_body(source), pooling),
        {name: example[name] for name in ("input_ids", "attention_mask")},
        {"input_ids": axes, "attention_mask": axes},
        "embedding",
        file,
    )


def _save_tokenizer(source: SentenceTransformer, folder: Path) -> None:
    """Without truncation and padding: how much of both is the serving step's decision."""
    source.tokenizer.backend_tokenizer.no_truncation()
    source.tokenizer.backend_tokenizer.no_padding()
    source.tokenizer.save_pretrained(folder)


def _compare(source: SentenceTransformer, file: Path) -> int:
    """Checks the graph against the library's own vectors, padded and alone; returns dimensions."""
    texts = list(SENTENCES)
    wanted = np.asarray(source.encode(texts, normalize_embeddings=True, show_progress_bar=False))
    for chunk in (texts, texts[:1]):
        batch = source.tokenizer(chunk, padding=True, truncation=True, return_tensors="np")
        tokens = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        check_close("embedding", run(file, tokens), wanted[: len(chunk)], TOLERANCE)
    return int(wanted.shape[1])


def _compare_random(source: SentenceTransformer, pooling: str, file: Path) -> None:
    """Ids that no text has, of lengths that no sentence had, against the module itself."""
    generator = torch.Generator().manual_seed(0)
    module = _Encoder(_body(source), pooling)
    words = int(_body(source).config.vocab_size)
    for batch, length in ((1, 1), (5, 23)):
        ids = torch.randint(0, words, (batch, length), generator=generator)
        kept = torch.randint(1, length + 1, (batch, 1), generator=generator)
        mask = (torch.arange(length) < kept).long()
        with torch.inference_mode():
            wanted = np.asarray(module(ids, mask).numpy())
        found = run(file, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        check_close("embedding of random tokens", found, wanted, TOLERANCE)
