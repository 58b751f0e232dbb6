"""The canonical requests and the one stream of events that every dialect translates to and from.

Plain data: no I/O, no wire format, no knowledge of dialects. Units stand in the names.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


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
    takes: frozenset[str] = frozenset()
    """Names of the tensors that its ensemble takes."""
    details: Details = Details()


@dataclass(frozen=True, slots=True)
class ImageLink:
    """An image that a message refers to: a `data:` or `https:` URL, and where it stands."""

    url: str
    path: str


@dataclass(frozen=True, slots=True)
class Generation:
    """Text to be generated for one prompt.

    `prompt` is the contract's prompt object: messages, text or token ids. `sampling` holds vLLM's
    SamplingParams by name. `reply` says what to tell from the text: tool calls, reasoning; None
    means that it is to stay as it is.
    """

    prompt: dict[str, Any]
    sampling: dict[str, Any]
    reply: dict[str, Any] | None = None
    images: tuple[bytes, ...] = ()
    """PNG files, one for each image part of the messages, in order."""
    structure_at: str | None = None
    """The field of the request that says what the reply must match."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Texts to be embedded, in order; `ids` are their tokens where the caller made them."""

    texts: list[str]
    truncate: bool = False
    ids: list[list[int]] | None = None

    @classmethod
    def of_ids(cls, ids: list[list[int]], truncate: bool) -> "Embedding":
        """Texts that are known by their tokens alone."""
        return cls([""] * len(ids), truncate, ids)

    def split(self, size: int) -> "list[Embedding]":
        """The same texts in parts of at most `size`."""
        return [
            Embedding(
                self.texts[start : start + size],
                self.truncate,
                self.ids and self.ids[start : start + size],
            )
            for start in range(0, len(self.texts), size)
        ]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Pairs of a query and a document to be scored, in order."""

    queries: list[str]
    documents: list[str]
    truncate: bool = False

    def split(self, size: int) -> "list[Ranking]":
        """The same pairs in parts of at most `size`."""
        return [
            Ranking(
                self.queries[start : start + size],
                self.documents[start : start + size],
                self.truncate,
            )
            for start in range(0, len(self.documents), size)
        ]


@dataclass(frozen=True, slots=True)
class Scores:
    """How well each document answers its query, 0…1, in input order."""

    values: list[float]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """Images to be drawn. None means: the model's default."""

    prompt: str
    negative_prompt: str | None = None
    count: int = 1
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    stop_after: int | None = None
    """Steps after which to tell what the images seem to become."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """PNG files, and the tokens of the prompts."""

    files: list[bytes]
    prompt_tokens: int = 0


@dataclass(slots=True)
class Event:
    """What happened to one completion since its last event: deltas, and counts so far."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: str | None
    stop_reason: str | int | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    logprobs: list[dict[str, Any]] | None = None
    prompt_logprobs: list[dict[str, Any] | None] | None = None
    prompt_token_ids: list[int] | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    reasoning_tokens: int = 0
    unread: str = ""
    """Of the last event: what the model wrote since it last told content or reasoning."""
    partial_call: bool = False
    """The reply holds what cannot be read as a call; its text stands in `text` instead."""


@dataclass(slots=True)
class Usage:
    """Tokens of a request as the engine counted them."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(slots=True)
class UsageCount:
    """Adds up the usage of a request with several prompts and completions."""

    _last: dict[tuple[int, int], Event] = field(default_factory=dict)

    def see(self, prompt: int, event: Event) -> None:
        """Takes note of an event of the request's prompt number `prompt`."""
        self._last[prompt, event.index] = event

    @property
    def total(self) -> Usage:
        """The sum so far: each prompt once, each completion as far as it got."""
        prompts = {prompt: event for (prompt, _), event in self._last.items()}
        return Usage(
            sum(event.prompt_tokens for event in prompts.values()),
            sum(event.cached_tokens for event in prompts.values()),
            sum(event.completion_tokens for event in self._last.values()),
            sum(event.reasoning_tokens for event in self._last.values()),
        )


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings in input order: `raw` is little-endian FP32 of shape [count, dimensions]."""

    raw: bytes
    count: int
    dimensions: int
    prompt_tokens: int

    @classmethod
    def join(cls, parts: "list[Vectors]") -> "Vectors":
        """The opposite of `Embedding.split`."""
        return cls(
            b"".join(part.raw for part in parts),
            sum(part.count for part in parts),
            parts[0].dimensions,
            sum(part.prompt_tokens for part in parts),
        )

    def cut(self, dimensions: int) -> "Vectors":
        """The first `dimensions` numbers of each vector, at length 1 again (Kusupati et al. 2022,
        Matryoshka Representation Learning, §4)."""
        if dimensions == self.dimensions:
            return self
        rows = np.frombuffer(self.raw, dtype="<f4").reshape(-1, self.dimensions)[:, :dimensions]
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        cut = np.ascontiguousarray(rows / np.maximum(norms, 1e-12), dtype="<f4")
        return Vectors(cut.tobytes(), self.count, dimensions, self.prompt_tokens)
