"""The interface of all servers that the gateway sends requests to.

Code above this package knows upstreams only by this protocol; `tests/support/upstream.py` has a
scripted one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from frontend.domain.events import Events
from frontend.domain.generation import Generation, Tokenized
from frontend.domain.images import ImageRequest, ImageResult
from frontend.domain.models import Model, Version
from frontend.domain.trace import Headers
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors


@dataclass(frozen=True, slots=True)
class Call:
    """One call to an upstream: an id that no other call has, and the seconds that it may take.

    `headers`: its place in a trace, for the upstream.
    """

    id: str
    timeout_s: float
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """What a server says about its own load; None where it does not say it."""

    running: float | None = None
    waiting: float | None = None
    utilization: float | None = None
    """The part of the engine's cache that is in use, 0…1."""
    slots: int | None = None
    """Requests that its engine runs at once; more of them wait inside the engine."""

    def __post_init__(self) -> None:
        """Values that are impossible count as not reported."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                object.__setattr__(self, field.name, None)
        if self.utilization is not None and self.utilization > 1:
            object.__setattr__(self, "utilization", None)


class Upstream(Protocol):
    """One server. Each method raises GatewayError, and BackendUnavailable when it is gone."""

    figures: Figures | None
    """As it said them when its models were last read."""

    def generate(self, model: Model, generation: Generation, call: Call) -> Events:
        """The events of one generation, as they come; closing the iterator stops the work."""
        ...

    async def embed(self, model: Model, embedding: Embedding, call: Call) -> Vectors:
        """The vectors of all texts, in order."""
        ...

    async def rerank(self, model: Model, pairs: Pairs, call: Call) -> Scores:
        """The scores of all pairs, in order."""
        ...

    async def draw(self, model: Model, image: ImageRequest, call: Call) -> ImageResult:
        """The images of one request."""
        ...

    async def count(self, model: Model, generation: Generation, call: Call) -> int:
        """The number of tokens of a prompt."""
        ...

    async def tokenize(
        self, model: Model, generation: Generation, call: Call, *, strings: bool
    ) -> Tokenized:
        """The tokens of a prompt without images."""
        ...

    async def detokenize(self, model: Model, ids: list[int], call: Call) -> str:
        """The text of token ids."""
        ...

    async def models(self) -> list[Model]:
        """The models that can be used now."""
        ...

    @property
    def manages_models(self) -> bool:
        """Whether it loads and unloads models when asked."""
        ...

    @property
    def shares_calls(self) -> bool:
        """Whether texts of several requests may be embedded in one call: it does not batch them by
        itself, and says the tokens of each text."""
        ...

    @property
    def reads_calls(self) -> bool:
        """Whether it says by itself what a tool call is, as OpenAI's API does: its arguments are
        text that may be anything."""
        ...

    async def stored(self) -> Mapping[str, Sequence[Version]]:
        """All models that could be loaded, with those of their versions that were."""
        ...

    async def on_demand(self) -> list[Model]:
        """The models that say that a request loads them, loaded now or not, where that is known."""
        ...

    async def health(self) -> bool:
        """Whether the server answers. Does not raise."""
        ...

    async def load(self, name: str) -> None:
        """Loads a model, or what changed of it."""
        ...

    async def unload(self, name: str) -> None:
        """Unloads a model for every caller."""
        ...

    def abandon(self) -> None:
        """Ends every call that is running; each raises Overloaded."""
        ...

    async def close(self) -> None:
        """Closes the connection after what must still be sent."""
        ...
