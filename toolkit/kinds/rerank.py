"""Rerank models: score how well a document answers a query."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from toolkit import contract
from toolkit.engine_arguments import Engine
from toolkit.facts import TextFacts
from toolkit.finding import FieldFinding
from toolkit.kinds.conversion import ONNX, Conversion
from toolkit.kinds.encoding import (
    DEFAULT_CONTEXT,
    IDS,
    LIBRARIES,
    RATE,
    STEPS,
    Encoding,
    EncodingEntry,
    check_context,
    encoding_findings,
    text_tensor,
)
from toolkit.kinds.files import Files
from toolkit.kinds.kind import WIDE, Building, Kind, Surroundings
from toolkit.kinds.parts import Model, Tensor

_CONVERSION = Conversion(
    "toolkit.convert.reranker",
    "convert_reranker",
    3,
    LIBRARIES,
    ONNX,
    RATE,
    source="a rerank model",
)


class RerankFacts(TextFacts):
    """`context_length` in tokens of query and document, special ones included. `segments`: the
    graph takes `token_type_ids`, which tell the two apart."""

    kind: Literal["rerank"] = "rerank"
    context_length: int
    segments: bool


class RerankEntry(EncodingEntry):
    """A cross-encoder that scores how well a document answers a query."""

    kind: Literal["rerank"] = Field(description="A rerank model.")
    context_length: int | None = Field(
        default=None,
        ge=16,
        description="Maximum number of tokens of query and document together. Default: the"
        " model's own maximum.",
    )


class _Rerank(Kind[RerankEntry, RerankFacts]):
    name = "rerank"
    position = 3
    entry = RerankEntry
    facts = RerankFacts
    wide = RerankFacts(context_length=WIDE, segments=True)
    interface = contract.INTERFACES["rerank"]
    steps = STEPS
    estimate = "encoder"
    default_context = DEFAULT_CONTEXT
    weights = "a cross-encoder"
    title = "A rerank model"
    example = "hf:cross-encoder/ms-marco-MiniLM-L6-v2"
    hints = """\
    # context_length: 512            # tokens of query and document together
"""

    def recognizes(self, files: Files, engine: Engine | None) -> bool:
        # its score is the only label of a head, which the graph of an embedding model leaves out
        one = files.saved_as("ForSequenceClassification") and files.labels == 1
        return one and files.classifies

    def conversion(self, source: Path) -> Conversion:
        return _CONVERSION

    def findings(
        self, name: str, entry: RerankEntry, around: Surroundings
    ) -> Iterator[FieldFinding]:
        return encoding_findings(entry, around)

    def models(self, entry: RerankEntry, facts: RerankFacts, building: Building) -> list[Model]:
        name, length = building.name, entry.context_length or facts.context_length
        check_context(length, facts.context_length)
        text_bytes = facts.text_bytes(length)
        public = {
            **building.public,
            contract.KIND: self.name,
            contract.CAPABILITIES: ["rerank"],
            contract.CONTEXT_LENGTH: length,
            contract.MAX_TEXT_BYTES: text_bytes,
        }
        # onnxruntime refuses inputs that a graph does not have
        ids = (*IDS, "token_type_ids") if facts.segments else IDS
        texts = [text_tensor("query"), text_tensor("document")]
        encoding = Encoding(name, entry, length, texts, ids, Tensor("score", "FP32", (1,)))
        # the parameter itself, whatever its value, makes the step one for pairs
        own = {"max_text_bytes": text_bytes, "segments": "true" if facts.segments else "false"}
        return encoding.models(public, own, building.target)


KIND = _Rerank()
