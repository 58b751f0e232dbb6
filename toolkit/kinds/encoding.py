"""Shared parts of kinds that encode texts in one pass: `tokenize` → `encoder`, batched.

If the server runs ONNX graphs itself, it runs the encoder. It only batches requests of equal
length, so texts are then padded to a multiple. The tensor contract is python_backends/README.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from toolkit.errors import ConvertError
from toolkit.fields.entry import QueuedFields, SourcedEntry
from toolkit.fields.serving import Part
from toolkit.finding import FieldFinding
from toolkit.kinds.checks import (
    queue_findings,
    sourced_findings,
    version_findings,
    warmup_findings,
)
from toolkit.kinds.conversion import Rate
from toolkit.kinds.kind import KindStep, Surroundings
from toolkit.kinds.parts import Ensemble, Model, Route, Running, Step, Tensor
from toolkit.targets import Target

LIBRARIES = ("torch", "transformers", "sentence-transformers", "onnx", "onnxscript")
RATE = Rate(8, 100, memory=5.0)
"""Of an encoder: 23M parameters took 23 s of CPU and 1.06 GB."""

DEFAULT_CONTEXT = 2048
"""Tokens of a model that is served by its name, if its own maximum is not below them."""
STEPS = (KindStep("tokenize", "tokenize"), KindStep("encoder", "encoder", native=True))
MAX_BATCH_SIZE = 256
"""Texts of one request, and rows that Triton may hand over together. The encoder itself splits what
it gets by length, so this is a limit on queues, not on memory."""
NATIVE_BATCH_SIZE = 32
"""The same where the server runs the graph: then it is rows of one run."""
PAD_TO_MULTIPLE = 32
"""Tokens; 512 make 16 lengths, and a run wastes 16 tokens of a row on average."""
TOKENIZE_INSTANCES = 2

_TRUNCATE = Tensor("truncate", "BOOL", (1,), optional=True)
IDS_GIVEN = Tensor("token_ids", "INT32", (-1,), optional=True)
_COUNT = Tensor("num_tokens", "INT32", (1,))
IDS = ("input_ids", "attention_mask")


def text_tensor(name: str) -> Tensor:
    """The tensor of texts: one text per row."""
    return Tensor(name, "STRING", (1,))


class EncodingEntry(SourcedEntry, QueuedFields):
    """The fields of both kinds."""

    context_length: int | None
    token_budget: int = Field(
        default=1024,
        ge=64,
        le=1 << 20,
        description="Tokens, padding included, that the encoder computes in one go where it "
        "batches by itself.",
    )
    parts: dict[Literal["tokenize"], Part] = Field(
        default={}, description="Settings of the step `tokenize`."
    )


def encoding_findings(entry: EncodingEntry, around: Surroundings) -> Iterator[FieldFinding]:
    """The findings about the entry as a whole."""
    yield from sourced_findings(entry, entry.parts.items(), around)
    yield from warmup_findings(entry)
    yield from version_findings(entry, only_first=True)
    yield from queue_findings(entry, entry.batching.max_batch_size if entry.batching else None)


def check_context(asked: int, most: int) -> None:
    """Raises ConvertError when a context length exceeds that of the weights."""
    if asked > most:
        raise ConvertError(
            f"{asked} exceeds the model's maximum of {most} tokens",
            hint=f"set context_length to {most} or less",
            field=("context_length",),
        )


class Encoding:
    """The models of an entry; kinds differ in texts, ids and output."""

    def __init__(
        self,
        name: str,
        entry: EncodingEntry,
        context_length: int,
        texts: Sequence[Tensor],
        ids: Sequence[str],
        output: Tensor,
    ) -> None:
        self._name = name
        self._entry = entry
        self._length = context_length
        self._inputs = (*texts, _TRUNCATE)
        self._ids = [Tensor(part, "INT64", (-1,)) for part in ids]
        self._output = output

    def models(
        self, public: Mapping[str, object], own: Mapping[str, object], target: Target
    ) -> list[Model]:
        """The ensemble and its two steps. `own` are parameters of `tokenize`."""
        batch = self._batch_size(target)
        tokenize = self._tokenize(batch, own, target)
        encoder = self._encoder(batch, target)
        ids = [tensor.name for tensor in self._ids]
        routes = (
            Route.same(tokenize, [each.name for each in self._inputs], [*ids, "num_tokens"]),
            Route.same(encoder, ids, [self._output.name]),
        )
        ensemble = Ensemble(
            name=self._name,
            inputs=self._inputs,
            outputs=(self._output, _COUNT),
            routes=routes,
            parameters=public,
            max_batch_size=batch,
            # at the ensemble: a hit (0.3 to 0.7 ms) then touches neither of the steps
            running=Running(response_cache=self._entry.response_cache),
        )
        return [ensemble, tokenize, encoder]

    def _batch_size(self, target: Target) -> int:
        batching = self._entry.batching
        natural = NATIVE_BATCH_SIZE if target.native_onnx else MAX_BATCH_SIZE
        return (batching.max_batch_size if batching else None) or natural

    def _tokenize(self, batch: int, own: Mapping[str, object], target: Target) -> Step:
        # without ragged batches only rows of one length meet in a run
        padding = {"pad_to_multiple": PAD_TO_MULTIPLE} if target.native_onnx else {}
        return Step(
            name=f"{self._name}.tokenize",
            environment="onnx",
            inputs=self._inputs,
            outputs=(*self._ids, _COUNT),
            parameters={"context_length": self._length, **own, **padding},
            instances=TOKENIZE_INSTANCES,
            max_batch_size=batch,
            running=Running.part(self._entry.parts.get("tokenize")),
        )

    def _encoder(self, batch: int, target: Target) -> Step:
        entry = self._entry
        step = Step(
            name=f"{self._name}.encoder",
            environment="onnx",
            inputs=[replace(tensor, ragged=not target.native_onnx) for tensor in self._ids],
            outputs=(self._output,),
            max_batch_size=batch,
            batches=True,
            device="gpu",
            running=Running(
                entry.instances,
                entry.batching,
                entry.priority,
                entry.warmup,
                version_policy=entry.version_policy,
            ),
        )
        if target.native_onnx:
            return replace(step, backend="onnxruntime")
        return replace(step, parameters=self._own())

    def _own(self) -> dict[str, object]:
        """Parameters of our encoder, where they are not its defaults."""
        own: dict[str, object] = {}
        # defaults are left out, so that the step can change its own
        if self._entry.token_budget != type(self._entry).model_fields["token_budget"].default:
            own["token_budget"] = self._entry.token_budget
        if self._output.name != "embedding":
            own["output"] = self._output.name
        return own
