"""Configs of embedding and rerank models: `tokenize` → `encoder`, batched.

Where the server itself runs ONNX graphs it does; it batches requests of equal length only, so texts
are padded to a multiple there. The tensor contract is python_backends/README.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from toolkit.facts import EmbeddingFacts, RerankFacts
from toolkit.model_config import ModelConfig
from toolkit.repository.parts import (
    Ensemble,
    Route,
    Step,
    Tensor,
    ensemble_config,
    step_config,
)
from toolkit.repository.running import Running
from toolkit.spec import EmbeddingEntry, RerankEntry
from toolkit.targets import Target

MAX_BATCH_SIZE = 256
"""Texts of one request, and rows that Triton may hand over together. The encoder itself splits what
it gets by length, so this is a limit on queues, not on memory."""
NATIVE_BATCH_SIZE = 32
"""The same where the server runs the graph: then it is rows of one run."""
PAD_TO_MULTIPLE = 32
"""Tokens; 512 make 16 lengths, and a run wastes 16 tokens of a row on average."""
TOKENIZE_INSTANCES = 2

_TRUNCATE = Tensor("truncate", "BOOL", (1,), optional=True)
_IDS_GIVEN = Tensor("token_ids", "INT32", (-1,), optional=True)
_COUNT = Tensor("num_tokens", "INT32", (1,))
_IDS = ("input_ids", "attention_mask")


def _text(name: str) -> Tensor:
    return Tensor(name, "STRING", (1,))


def embedding_configs(
    name: str,
    entry: EmbeddingEntry,
    facts: EmbeddingFacts,
    public: Mapping[str, object],
    target: Target,
) -> list[ModelConfig]:
    """The ensemble and its two steps; `public` are the parameters of every ensemble."""
    length = entry.context_length or facts.context_length
    about: dict[str, object] = {"toolkit.context_length": length}
    about["toolkit.max_text_bytes"] = text_bytes = facts.text_bytes(length)
    about["toolkit.dimensions"] = facts.dimensions
    if not facts.normalized:
        about["toolkit.normalized"] = "false"
    if entry.matryoshka:
        about["toolkit.matryoshka"] = sorted(entry.matryoshka)
    output = Tensor("embedding", "FP32", (facts.dimensions,))
    parts = _Parts(name, entry, length, [_text("text"), _IDS_GIVEN], _IDS, output)
    return parts.configs({**public, **about}, {"max_text_bytes": text_bytes}, target)


def rerank_configs(
    name: str,
    entry: RerankEntry,
    facts: RerankFacts,
    public: Mapping[str, object],
    target: Target,
) -> list[ModelConfig]:
    """The ensemble and its two steps; `public` are the parameters of every ensemble."""
    length = entry.context_length or facts.context_length
    ids = (*_IDS, "token_type_ids") if facts.segments else _IDS
    texts = [_text("query"), _text("document")]
    parts = _Parts(name, entry, length, texts, ids, Tensor("score", "FP32", (1,)))
    text_bytes = facts.text_bytes(length)
    about = {"toolkit.context_length": length, "toolkit.max_text_bytes": text_bytes}
    own = {"max_text_bytes": text_bytes, "segments": "true" if facts.segments else "false"}
    return parts.configs({**public, **about}, own, target)


class _Parts:
    """What both kinds have in common; they differ in texts, ids and what comes out."""

    def __init__(
        self,
        name: str,
        entry: EmbeddingEntry | RerankEntry,
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

    def configs(
        self, public: Mapping[str, object], own: Mapping[str, object], target: Target
    ) -> list[ModelConfig]:
        batch = self._batch_size(target)
        tokenize = self._tokenize(batch, own, target)
        encoder = self._encoder(batch, target)
        ids = [tensor.name for tensor in self._ids]
        routes = (
            Route.same(tokenize, [each.name for each in self._inputs], [*ids, "num_tokens"]),
            Route.same(encoder, ids, [self._output.name]),
        )
        entry = self._entry
        ensemble = Ensemble(
            name=self._name,
            inputs=self._inputs,
            outputs=(self._output, _COUNT),
            max_batch_size=batch,
            running=Running(response_cache=entry.response_cache),
        )
        return [
            ensemble_config(ensemble, routes, public),
            step_config(tokenize, target),
            step_config(encoder, target),
        ]

    def _batch_size(self, target: Target) -> int:
        batching = self._entry.batching
        natural = NATIVE_BATCH_SIZE if target.native_onnx else MAX_BATCH_SIZE
        return (batching.max_batch_size if batching else None) or natural

    def _tokenize(self, batch: int, own: Mapping[str, object], target: Target) -> Step:
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
        if self._entry.token_budget != type(self._entry).model_fields["token_budget"].default:
            own["token_budget"] = self._entry.token_budget
        if self._output.name != "embedding":
            own["output"] = self._output.name
        return own
