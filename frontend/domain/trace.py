"""The trace of one request, as the path of requests sees it: nobody records these ones.

`telemetry.traces` has those that are recorded. A call's headers carry its place in the trace to an
upstream (W3C Trace Context). Plain data; nothing here fails or waits.
"""

from types import TracebackType
from typing import Self

from frontend.domain.events import Event
from frontend.domain.generation import Generation
from frontend.domain.usage import Usage

Headers = tuple[tuple[str, str], ...]
"""Names in lower case, and values."""


class Step:
    """One call to a model: a wait for its turn, and the work at an upstream."""

    headers: Headers = ()

    def __enter__(self) -> Self:
        """The wait begins."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The call has ended, with an error or without."""

    def begin(self, upstream: str, engine: str, *, external: bool) -> None:
        """The wait has ended. `external`: the upstream is outside the site."""

    def saw(self, events: list[Event]) -> None:
        """Events of a generation that came together."""

    def used(self, usage: Usage) -> None:
        """The usage of a call without events."""


class Trace:
    """One request."""

    id: str | None = None
    """32 hexadecimal digits; None: there is no trace."""

    def step(
        self, model: str, operation: str, generation: Generation | None, *, keeps_text: bool
    ) -> Step:
        """A call to a model, as a block. `operation` by the GenAI conventions; `keeps_text`: the
        audit has the request's text."""
        return _NO_STEP


_NO_STEP = Step()
UNTRACED = Trace()
"""What a request without a trace has."""
