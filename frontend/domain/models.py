"""A model that clients may ask for, and what is known about it."""

import enum
from dataclasses import dataclass


class Input(enum.Enum):
    """An input that only some models of a kind accept."""

    IMAGES = enum.auto()
    """Images in messages."""
    TOKEN_IDS = enum.auto()
    """Texts to embed that the caller has tokenized."""
    PREVIEWS = enum.auto()
    """Requests for an image as it is after some of the steps."""
    TOOLS = enum.auto()
    """Declarations of tools, and how replies are to be read."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """A diffusion model's defaults and limits."""

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
    """Facts about a model's weights for people; empty where they are not known."""

    family: str = ""
    parameters: int = 0
    size_bytes: int = 0
    quantization: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a stored model. `state`: loaded, loading, unloading, unloaded or failed."""

    number: str
    state: str
    used_at_s: float | None = None
    """The last request of any client, in seconds since 1970, where the server says it."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that clients may ask for, as its upstream describes it."""

    name: str
    kind: str
    aliases: tuple[str, ...]
    capabilities: frozenset[str]
    context_length: int | None
    dimensions: int | None
    image: ImageLimits | None
    owned_by: str
    created_s: int
    accepts: frozenset[Input] = frozenset()
    matryoshka: frozenset[int] = frozenset()
    """Lengths to which its vectors may be cut."""
    normalized: bool = True
    """Its vectors have length 1."""
    max_text_bytes: int | None = None
    """Bytes of text that its context can hold at most, where that is known."""
    details: Details = Details()
    patterns: tuple[str, ...] = ()
    """Aliases with a `*`, which stands for any text."""
    revision: str = ""
    """Tells versions of the model from each other, where the server says what it has."""
    keep_s: float | None = None
    """Seconds that it stays loaded without a request; infinite: always; None: the default."""
    version_of: str = ""
    """The name of the model that it is one of several loaded versions of."""

    @property
    def stored(self) -> str:
        """The name by which it is loaded and unloaded: versions are loaded together."""
        return self.version_of or self.name
