"""Converts a sentence-transformers directory to one ONNX graph: tokens in, vectors out.

The graph holds pooling, and L2 normalization where the source normalizes. Only
`torch.onnx.export(dynamo=True)` is used: the older exporter wrote MiniLM without an error and with
cosine 0.79 to its source.
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

from toolkit.backends import load_served
from toolkit.convert.failures import refusing
from toolkit.convert.graph import export, run
from toolkit.convert.limit import MOST_TRIED, texts_at_limit
from toolkit.convert.parity import SENTENCES, check_close
from toolkit.convert.positions import find_limit
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import read_tensors
from toolkit.convert.serving import Array, Tokenizing
from toolkit.convert.settings_files import check_settings
from toolkit.convert.strict import check_names, compare_with_files
from toolkit.errors import ConvertError
from toolkit.kinds.embedding import EmbeddingFacts
from toolkit.progress import Progress

TOLERANCE = 1e-4
"""Largest difference of a vector's element; a right export differs by about 3e-7."""


class _Encoder(torch.nn.Module):
    """INT64 `[B, L]` ids and mask → FP32 `[B, D]`."""

    def __init__(self, body: torch.nn.Module, pooling: str, normalized: bool) -> None:
        super().__init__()
        self._body = body
        self._pooling = pooling
        self._normalized = normalized

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self._body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self._pooling == "cls":
            pooled = hidden[:, 0]
        else:
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            # as sentence-transformers computes it, with the same smallest divisor
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(pooled, dim=-1) if self._normalized else pooled


def convert_encoder(folder: Path, place: Path, progress: Progress) -> EmbeddingFacts:
    """Writes `encoder/model.onnx` and `tokenize/tokenizer/` below `place`.

    Raises ConvertError for a directory or a chain of modules that cannot be read, and when vectors
    differ from the source's by more than `TOLERANCE`.
    """
    with progress.step("convert to ONNX", total=3, unit="stages") as step, quiet():
        source = _load(folder)
        module = _module(source)
        limit = find_limit(_body(source), source.max_seq_length)
        source.max_seq_length = limit  # it would cut texts at more than it can compute
        step.advance()
        step.note("export")
        graph = place / "encoder" / "model.onnx"
        tokenizer = place / "tokenize" / "tokenizer"
        _export(source, module, graph)
        _save_tokenizer(source, tokenizer)
        step.advance()
        step.note("compare")
        dimensions = _compare(source, graph, _serving(tokenizer, limit))
        _compare_random(source, module, graph)
        step.advance()
    return EmbeddingFacts(
        dimensions=dimensions, context_length=limit, normalized=_is_normalized(source)
    )


def _load(folder: Path) -> SentenceTransformer:
    if not (folder / "config.json").exists():
        raise ConvertError(
            f"{folder} is not a model directory: it has no config.json",
            hint="`source` must be a sentence-transformers or Hugging Face directory",
        )
    check_settings(folder)
    with refusing(f"{folder.name} cannot be loaded"):
        place = _weights(folder)
        tensors = read_tensors(place)
        config = AutoConfig.from_pretrained(place, local_files_only=True)
        shapes = {tensor.name: tensor.shape for tensor in tensors.values()}
        # before loading: the library gives missing weights random numbers
        check_names(AutoModel, config, shapes, folder, body=True)
        source = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            # use_safetensors: without it the library reads a pickle where there are no safetensors
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        )
        # for what it refuses: before the weights are read a second time
        _module(source)
        if source.tokenizer.pad_token is None:
            raise ConvertError(
                f"the tokenizer of {folder.name} has no padding token, which an encoder needs",
                hint="if it is a language model, correct `architectures` in config.json",
            )
        compare_with_files(_body(source), place, tensors)
    _check_texts(source, folder)
    return source


def _check_texts(source: SentenceTransformer, folder: Path) -> None:
    """Refuses what happens to texts before they are tokenized, which the serving step does not."""
    length, name = source.max_seq_length, source.default_prompt_name
    if length is not None and (not isinstance(length, int) or length < 1):
        raise ConvertError(f"{folder.name}: max_seq_length ({length}) must be a number above 0")
    if prompt := (source.prompts or {}).get(name or ""):
        raise ConvertError(
            f"config_sentence_transformers.json of {folder.name} begins every text with "
            f"{prompt[:60]!r} (default_prompt_name '{name}'); the served model does not add this"
            " prompt",
            hint="set default_prompt_name to null, and let callers add the prompt",
        )


def _weights(folder: Path) -> Path:
    """Where the transformer's own files are: the first of the modules."""
    modules = folder / "modules.json"
    return folder / json.loads(modules.read_text())[0]["path"] if modules.exists() else folder


def _module(source: SentenceTransformer) -> _Encoder:
    """The module that computes the chain: Transformer, Pooling and perhaps Normalize."""
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
            hint="supported: Transformer → Pooling (mean or cls), with or without Normalize",
        )
    mode = modules[1].pooling_mode
    if mode not in {"mean", "cls"}:
        raise ConvertError(f"cannot convert the pooling '{mode}'", hint="supported: mean, cls")
    return _Encoder(_body(source), str(mode), _is_normalized(source))


def _is_normalized(source: SentenceTransformer) -> bool:
    return any(isinstance(module, Normalize) for module in source)


def _body(source: SentenceTransformer) -> Any:
    """The transformer itself, a Hugging Face model."""
    return source[0].auto_model


def _export(source: SentenceTransformer, module: _Encoder, file: Path) -> None:
    # Two texts of two lengths: the exporter takes an axis of size 1 for a constant.
    example = source.tokenizer(
        list(SENTENCES[:2]),
        padding=True,
        truncation=True,
        max_length=source.max_seq_length,
        return_tensors="pt",
    )
    axes = {0: "batch", 1: "length"}
    export(
        module,
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


def _serving(folder: Path, limit: int) -> Tokenizing:
    """The tokenizer of the serving step."""
    tokenizer: Tokenizing = load_served("tokenize/texts.py").TextTokenizer.load(folder, limit)
    return tokenizer


def _compare(source: SentenceTransformer, file: Path, tokenizer: Tokenizing) -> int:
    """Checks graph and serving tokenizer against the library's own vectors; returns dimensions.

    Padded, alone, and for texts of exactly the limit and above it.
    """
    limit = min(tokenizer.context_length, MOST_TRIED)
    longest = texts_at_limit(tokenizer.count, limit)
    for texts in (list(SENTENCES), [SENTENCES[0]], *([text] for text in longest)):
        expected = np.asarray(source.encode(texts, show_progress_bar=False), dtype=np.float32)
        check_close("embedding", run(file, _tokens(tokenizer, texts)), expected, TOLERANCE)
    return int(expected.shape[1])


def _tokens(tokenizer: Tokenizing, texts: list[str]) -> dict[str, Array]:
    """The graph's inputs as the serving step makes them, cut at the limit."""
    values = np.array([[text.encode()] for text in texts], dtype=np.object_)
    arrays = tokenizer.read({"text": values, "truncate": np.ones((len(texts), 1), dtype=np.bool_)})
    return {name: arrays[name] for name in ("input_ids", "attention_mask")}


def _compare_random(source: SentenceTransformer, module: _Encoder, file: Path) -> None:
    """Compares random ids, in lengths that the sentences do not have, with the module."""
    generator = torch.Generator().manual_seed(0)
    words = int(_body(source).config.vocab_size)
    # one text of one token: both axes of size 1, which an exporter may have taken for constants
    for batch, length in ((1, 1), (5, min(23, source.max_seq_length or 23))):
        ids = torch.randint(0, words, (batch, length), generator=generator)
        kept = torch.randint(1, length + 1, (batch, 1), generator=generator)
        mask = (torch.arange(length) < kept).long()
        with torch.inference_mode():
            expected = np.asarray(module(ids, mask).numpy())
        actual = run(file, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        check_close("embedding of random tokens", actual, expected, TOLERANCE)
