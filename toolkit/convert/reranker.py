"""Converts a cross-encoder to one ONNX graph: tokens of a pair in, a score between 0 and 1 out.

The score is the sigmoid of the model's only logit, whatever activation its authors used for
training, so that scores of different models are on one scale and their order stays. Exported and
compared like an embedding model (`encoder`).
"""

import inspect
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from toolkit.backends import load_served
from toolkit.convert.failures import refusing
from toolkit.convert.graph import export, run
from toolkit.convert.limit import MOST_TRIED, texts_at_limit
from toolkit.convert.parity import SENTENCES, check_close
from toolkit.convert.positions import find_limit
from toolkit.convert.quiet import quiet
from toolkit.convert.serving import Array, Tokenizing
from toolkit.convert.strict import load
from toolkit.errors import ConvertError
from toolkit.kinds.rerank import RerankFacts
from toolkit.progress import Progress

TOLERANCE = 1e-4
"""Largest difference of a score."""


class _Scorer(torch.nn.Module):
    """INT64 `[B, L]` ids, mask and perhaps segments → FP32 `[B, 1]`."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self._body = body

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self._body(input_ids=input_ids, attention_mask=attention_mask, **segments)
        return torch.sigmoid(output.logits.float())


def convert_reranker(folder: Path, place: Path, progress: Progress) -> RerankFacts:
    """Writes `encoder/model.onnx` and `tokenize/tokenizer/` below `place`.

    Raises ConvertError for a directory that is not a cross-encoder, and when scores differ from the
    source's by more than `TOLERANCE`.
    """
    with progress.step("convert to ONNX", total=3, unit="stages") as step, quiet():
        body, tokenizer = _load(folder)
        segments = _has_segments(body, tokenizer)
        limit = find_limit(body, tokenizer.model_max_length)
        step.advance()
        step.note("export")
        graph = place / "encoder" / "model.onnx"
        _export(body, tokenizer, segments, graph)
        saved = place / "tokenize" / "tokenizer"
        _save_tokenizer(tokenizer, saved)
        step.advance()
        step.note("compare")
        serving = _serving(saved, limit, segments)
        _compare(body, tokenizer, serving, graph)
        step.advance()
    return RerankFacts(context_length=limit, segments=segments)


def _load(folder: Path) -> tuple[Any, Any]:
    if not (folder / "config.json").exists():
        raise ConvertError(
            f"{folder} is not a model directory: it has no config.json",
            hint="`source` must be a Hugging Face directory of a cross-encoder",
        )
    try:
        body = load(AutoModelForSequenceClassification, folder)
    except ConvertError as error:
        # what lacks the head for scores is most often an embedding model
        if "missing: " in error.message:
            error.hint = (
                "`kind: rerank` requires a sequence classification checkpoint; for a model that "
                "returns vectors write `kind: embedding`"
            )
        raise
    with refusing(f"the tokenizer of {folder.name} cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    labels = int(body.config.num_labels)
    if labels != 1:
        raise ConvertError(
            f"{folder.name} gives {labels} labels, but a rerank model returns one score",
            hint="choose a cross-encoder with num_labels 1",
        )
    return body, tokenizer


def _has_segments(body: Any, tokenizer: Any) -> bool:
    """Whether the model tells query and document apart by `token_type_ids`."""
    takes = "token_type_ids" in inspect.signature(body.forward).parameters
    gives = "token_type_ids" in tokenizer.model_input_names
    # RoBERTa's table has one row, and a segment 1 would be outside it
    return takes and gives and int(getattr(body.config, "type_vocab_size", 0) or 0) > 1


def _names(segments: bool) -> list[str]:
    return ["input_ids", "attention_mask", *(["token_type_ids"] if segments else [])]


def _pairs() -> list[tuple[str, str]]:
    """Queries and documents of different lengths, so padding and both segments count."""
    return list(product(SENTENCES[:2], SENTENCES))


def _export(body: Any, tokenizer: Any, segments: bool, file: Path) -> None:
    first = _pairs()[:2]
    example = tokenizer(*zip(*first, strict=True), padding=True, return_tensors="pt")
    axes = {0: "batch", 1: "length"}
    names = _names(segments)
    export(
        _Scorer(body),
        {name: example[name] for name in names},
        dict.fromkeys(names, axes),
        "score",
        file,
    )


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Without truncation and padding: how much of both is the serving step's decision."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)


def _serving(folder: Path, limit: int, segments: bool) -> Tokenizing:
    """The tokenizer of the serving step."""
    pairs = load_served("tokenize/pairs.py")
    tokenizer: Tokenizing = pairs.PairTokenizer.load(folder, limit, segments, 1)
    return tokenizer


def _compare(body: Any, tokenizer: Any, serving: Tokenizing, file: Path) -> None:
    """Checks graph and serving tokenizer against the model's own scores: padded, alone, and for
    pairs of exactly the limit and above it."""
    limit = min(serving.context_length, MOST_TRIED)
    query = SENTENCES[4]
    longest = texts_at_limit(lambda text: serving.count(query, text), limit)
    for chunk in (_pairs(), _pairs()[:1], *([(query, text)] for text in longest)):
        queries, documents = zip(*chunk, strict=True)
        batch = tokenizer(
            list(queries),
            list(documents),
            padding=True,
            # as the serving step cuts: documents, never the query
            truncation="only_second",
            max_length=limit,
            return_tensors="pt",
        )
        with torch.no_grad():
            expected = torch.sigmoid(body(**batch).logits).numpy()
        tokens = _tokens(serving, chunk)
        check_close("score", run(file, tokens), expected, TOLERANCE)


def _tokens(serving: Tokenizing, pairs: list[tuple[str, str]]) -> dict[str, Array]:
    """The graph's inputs as the serving step makes them, cut at the limit."""
    values = np.array([[text.encode() for text in pair] for pair in pairs], dtype=np.object_)
    arrays = serving.read(
        {
            "query": values[:, :1],
            "document": values[:, 1:],
            "truncate": np.ones((len(pairs), 1), dtype=np.bool_),
        }
    )
    return {name: array for name, array in arrays.items() if name != "num_tokens"}
