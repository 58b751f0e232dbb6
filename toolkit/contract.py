"""The parameters and tensors of generated models: the contract of python_backends/README.md.

The generator writes these parameters and tensors, `verify` checks them, the gateway reads them. An
`Interface` is a set of tensors that the gateway can call; each kind of model (`toolkit.kinds`)
serves one of them. Plain data without dependencies, so that importing it is cheap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

VERSION = 1

CONTRACT = "toolkit.contract"
KIND = "toolkit.kind"
CAPABILITIES = "toolkit.capabilities"
ALIASES = "toolkit.aliases"
SOURCE = "toolkit.source"
DIGEST = "toolkit.digest"
OWNED_BY = "toolkit.owned_by"
CREATED = "toolkit.created"
CONTEXT_LENGTH = "toolkit.context_length"
MAX_TEXT_BYTES = "toolkit.max_text_bytes"
DIMENSIONS = "toolkit.dimensions"
NORMALIZED = "toolkit.normalized"
MATRYOSHKA = "toolkit.matryoshka"
IMAGE = "toolkit.image"
CANCEL = "toolkit.cancel"
DETAILS = "toolkit.details"
KEEP_ALIVE = "toolkit.keep_alive"
"""Seconds that the model stays loaded after its last request; the first request loads it. -1 or
absent: it is always loaded."""
FIM = "toolkit.fim"
TOOL_PARSER = "toolkit.tool_parser"
REASONING_PARSER = "toolkit.reasoning_parser"
TARGET = "toolkit.target"
"""The parameter that tells a step which server it was built for."""

IMAGE_LIMITS = frozenset(
    {"width", "height", "multiple_of", "max_size", "steps", "max_steps", "guidance"}
)
"""Fields that the JSON object in `toolkit.image` has at least."""

Shape = tuple[str, tuple[int, ...]]
"""Triton's type without `TYPE_`, and dims without the batch; -1 is any length, -2 any fixed one."""


@dataclass(frozen=True, slots=True)
class Interface:
    """The tensors, parameters and capabilities of models that the gateway can call.

    `required` and `optional` are inputs. A model says at least `capabilities`; it may say `further`
    ones, and `generated` ones when the toolkit made it. `numbers` are parameters that must hold a
    count. `request` is a small one that the whole path has to answer: input → (type, value); a
    health probe of one step has the same texts. `answer` is what a client gets.
    """

    kind: str
    required: Mapping[str, Shape]
    optional: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    capabilities: tuple[str, ...]
    further: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    has_image: bool = False
    batched: bool = False
    decoupled: bool = False
    answer: Literal["text", "vector", "scores", "images"] = "text"
    request: Mapping[str, tuple[str, str | int]] = field(default_factory=dict)

    @property
    def known_capabilities(self) -> tuple[str, ...]:
        """All capabilities that a model of this interface may declare."""
        return (*self.capabilities, *self.further, *self.generated)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that a model of this interface must have."""
        return (*self.numbers, *((IMAGE,) if self.has_image else ()))


_TEXT = ("STRING", (1,))
_INT = ("INT32", (1,))
_TRUNCATE = {"truncate": ("BOOL", (1,))}
_COUNT = {"num_tokens": _INT}
INTERFACES = {
    interface.kind: interface
    for interface in (
        Interface(
            "llm",
            {"prompt": _TEXT, "sampling_parameters": _TEXT},
            {"reply": _TEXT},
            {"event": ("STRING", (-1,))},
            capabilities=("chat", "completion"),
            further=("tools", "reasoning", "infill"),
            generated=("vision",),
            numbers=(CONTEXT_LENGTH,),
            decoupled=True,
            request={
                # short enough for a context of 16 tokens
                "prompt": ("BYTES", '{"text": "The capital of France is"}'),
                "sampling_parameters": ("BYTES", '{"max_tokens": 8, "temperature": 0}'),
            },
        ),
        Interface(
            "embedding",
            {"text": _TEXT},
            {**_TRUNCATE, "token_ids": ("INT32", (-1,))},
            {"embedding": ("FP32", (-2,)), **_COUNT},
            capabilities=("embedding",),
            numbers=(CONTEXT_LENGTH, DIMENSIONS),
            batched=True,
            answer="vector",
            request={"text": ("BYTES", "ok")},
        ),
        Interface(
            "rerank",
            {"query": _TEXT, "document": _TEXT},
            _TRUNCATE,
            {"score": ("FP32", (1,)), **_COUNT},
            capabilities=("rerank",),
            numbers=(CONTEXT_LENGTH,),
            batched=True,
            answer="scores",
            request={"query": ("BYTES", "ok"), "document": ("BYTES", "ok")},
        ),
        Interface(
            "diffusion",
            {"prompt": _TEXT, "count": _INT},
            {
                "negative_prompt": _TEXT,
                "guidance": ("FP32", (1,)),
                "seed": ("INT64", (1,)),
                **dict.fromkeys(("steps", "width", "height", "stop_after"), _INT),
            },
            {"image": ("STRING", (-1,))},
            capabilities=("image",),
            has_image=True,
            answer="images",
            request={"prompt": ("BYTES", "ok"), "steps": ("INT32", 1), "count": ("INT32", 1)},
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Backend:
    """What a folder of python_backends needs in its model: files and folders (with a slash) of the
    version, and parameters with the type of their JSON value."""

    files: tuple[str, ...]
    parameters: Mapping[str, type] = field(default_factory=dict)


TOKENIZER, GRAPH, WEIGHTS = "tokenizer/", "model.onnx", "weights/"
BACKENDS = {
    "prompt": Backend((TOKENIZER,), {"context_length": int}),
    "vllm_engine": Backend((WEIGHTS,), {"engine": dict}),
    "trtllm_engine": Backend((TOKENIZER,), {"context_length": int}),
    "llmapi": Backend((WEIGHTS, "model.yaml")),
    "tokenize": Backend((TOKENIZER,), {"context_length": int}),
    "encoder": Backend((GRAPH,)),
    "text_encoder": Backend((TOKENIZER, GRAPH)),
    "denoise": Backend(("scheduler/", GRAPH), {"image": dict}),
    "decode": Backend((GRAPH,)),
}
