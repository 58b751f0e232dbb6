"""How the operator describes an upstream: where it is, what it runs, and what may be sent to it."""

import hashlib
from dataclasses import astuple, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Len

Engine = Literal[
    "triton", "vllm", "tgi", "llama.cpp", "lmstudio", "mistral.rs", "openai", "ollama", "anthropic"
]
_FORBID = {"extra": "forbid"}
"""A misspelt field must not be ignored."""


@dataclass(frozen=True, slots=True)
class TensorNames:
    """The tensors of an embedding model of Triton that this toolkit did not build.

    Either `text`, or `ids` with `mask` and `types` where the model has them. `vector`: its output,
    of which `pooling` makes one vector for each text; with `normalize` it gets length 1.
    """

    __pydantic_config__ = _FORBID

    vector: Annotated[str, Len(1, 256)]
    text: str | None = None
    ids: str | None = None
    mask: str | None = None
    types: str | None = None
    pooling: Literal["none", "mean", "cls"] = "none"
    normalize: bool = True


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What the operator says about one model. `own`: its name at the upstream, where it is another.

    For a Triton's models of other builders, `chat_template` and `tokenizer` name a format or files
    in the folder of the setting `model_files`.
    """

    __pydantic_config__ = _FORBID

    name: Annotated[str, Len(1, 256)]
    own: str | None = None
    kind: Literal["llm", "embedding", "rerank", "diffusion"] | None = None
    capabilities: list[str] | None = None
    context_length: Annotated[int, Gt(0)] | None = None
    dimensions: Annotated[int, Gt(0)] | None = None
    images: bool | None = None
    aliases: tuple[str, ...] = ()
    chat_template: Annotated[str, Len(1, 128)] | None = None
    tokenizer: Annotated[str, Len(1, 128)] | None = None
    tensors: TensorNames | None = None


@dataclass(frozen=True, slots=True)
class UpstreamEntry:
    """One upstream. `max_concurrent`: requests at once; `external`: prompts leave the site;
    `groups`: the ids of the groups that may use it, all if empty; `models`: empty for all that the
    server lists; `labels`: what the rules of groups are about."""

    __pydantic_config__ = _FORBID

    name: Annotated[str, Len(1, 64)]
    url: str
    engine: Engine = "triton"
    max_concurrent: Annotated[int, Gt(0)] | None = None
    max_num_seqs: Annotated[int, Gt(0)] | None = None
    priority: Annotated[float, Ge(-10)] = 0.0
    api_key_file: str | None = None
    external: bool = False
    groups: tuple[str, ...] = ()
    models: tuple[ServedModel, ...] = ()
    enabled: bool = True
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backend:
    """An upstream that was registered, as it is stored. `api_key_env` and `api_key_file` say where
    its key is. Instants are microseconds since 1970; `draining_at_us`: it gets no new requests."""

    id: str
    name: str
    url: str
    engine: Engine
    max_concurrent: int | None
    max_num_seqs: int | None
    gpu_memory_mib: int | None
    priority: int
    external: bool
    groups: list[str]
    models: list[dict[str, Any]]
    api_key_env: str | None
    api_key_file: str | None
    enabled: bool
    draining_at_us: int | None
    refreshed_at_us: int
    created_at_us: int
    labels: dict[str, str] | None = None

    @property
    def revision(self) -> str:
        """Differs after each change: who edits names the one that they saw."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:16]
