"""A model that clients may ask for, and what is known of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a diffusion model draws when not told otherwise, and the most it will."""

    width: int
    height: int
    multiple_of: int
    max_size: int
    steps: int
    max_steps: int
    guidance: float
    max_count: int


@dataclass(frozen=True, slots=True)
class Details:
    """What people want to know of a model's weights; empty where its config does not say."""

    family: str = ""
    parameters: int = 0
    size_bytes: int = 0
    quantization: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that clients may ask for, as its config in Triton describes it."""

    name: str
    kind: str
    aliases: tuple[str, ...]
    capabilities: frozenset[str]
    context_length: int | None
    dimensions: int | None
    image: ImageLimits | None
    cancel: str | None
    owned_by: str
    created_s: int
    max_batch: int
    tokenizer: str | None = None
    """The step that turns a prompt into token ids, where there is one."""
    matryoshka: frozenset[int] = frozenset()
    """Lengths to which its vectors may be cut."""
    normalized: bool = True
    """Its vectors have length 1."""
    takes: frozenset[str] = frozenset()
    """Names of the tensors that its ensemble takes."""
    max_text_bytes: int | None = None
    """Bytes of text that its context can hold at most, where its config says so."""
    details: Details = Details()
