"""What weights say about themselves, read while they are converted, kept beside the result.

Configs are made from these and from models.yaml, so a config never needs the weights again.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FILE = "facts.json"


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Reads(_Facts):
    """Facts of what reads text. `token_bytes` are those of text that the tokenizer's longest token
    stands for; it is known only to who has the tokenizer, and is no part of the weights' file."""

    token_bytes: int = Field(default=0, exclude=True)

    def text_bytes(self, tokens: int) -> int | None:
        """Bytes of text that so many tokens can hold at most; None where nobody knows."""
        return tokens * self.token_bytes or None


class Details(_Facts):
    """What people want to know of a language model's weights."""

    family: str = ""
    parameters: int = 0
    size_bytes: int = 0
    quantization: str = ""


class AdapterFacts(_Facts):
    """A LoRA adapter: the rank of its matrices, and its source's digest, `sha256:…`."""

    rank: int
    digest: str


class LlmFacts(_Reads):
    """`context_length` in tokens is the most that the model knows; `chat`: it has a template;
    `vision`: it takes images.
    `cache_bytes_per_token` is what keys and values of one token take, at 2 bytes a number.
    `adapters` are known only where an entry names some; they are no part of the weights."""

    kind: Literal["llm"] = "llm"
    context_length: int
    chat: bool
    cache_bytes_per_token: int
    details: Details = Details()
    adapters: dict[str, AdapterFacts] = {}
    vision: bool = False


class EmbeddingFacts(_Reads):
    """`dimensions` of a vector; `context_length` in tokens, special ones included; `normalized`:
    vectors have length 1, as the source's have."""

    kind: Literal["embedding"] = "embedding"
    dimensions: int
    context_length: int
    normalized: bool = True


class RerankFacts(_Reads):
    """`context_length` in tokens of query and document, special ones included. `segments`: the
    graph takes `token_type_ids`, which tell the two apart."""

    kind: Literal["rerank"] = "rerank"
    context_length: int
    segments: bool


class UserFacts(_Facts):
    """A user's own model: the versions that its source holds."""

    kind: Literal["python"] = "python"
    versions: tuple[int, ...]


class DiffusionFacts(_Reads):
    """Pixels and tensor sizes: `size` is the trained side in pixels, latents are `size / scale`
    wide, sides must be multiples of `multiple_of`; prompts of `tokens` become FP32 `[rows, width]`,
    where 0 rows are as many as tokens."""

    kind: Literal["diffusion"] = "diffusion"
    size: int
    scale: int
    multiple_of: int
    latent_channels: int
    tokens: int
    width: int
    latent_scaling: float
    latent_shift: float
    rows: int = 0


Facts = Annotated[
    LlmFacts | EmbeddingFacts | RerankFacts | DiffusionFacts | UserFacts,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Facts] = TypeAdapter(Facts)


def write_facts(folder: Path, facts: Facts) -> None:
    """Puts `facts` beside the converted parts."""
    (folder / FILE).write_text(facts.model_dump_json(indent=2) + "\n")


def read_facts(folder: Path) -> Facts:
    """What `write_facts` put there."""
    return _ADAPTER.validate_json((folder / FILE).read_text())
