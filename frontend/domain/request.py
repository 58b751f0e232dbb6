"""One request: its caller, dialect and deadline; and its outcome.

The middleware makes each `Request` once and passes it explicitly; it never changes. Everything that
changes is in its `Outcome`. Neither contains a prompt or an answer.
"""

import enum
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from frontend.domain.audit import Capture
from frontend.domain.caching import CacheUse
from frontend.domain.identity import ANONYMOUS, Caller
from frontend.domain.metering import Rates
from frontend.domain.trace import UNTRACED, Trace
from frontend.domain.usage import Usage


class Dialect(enum.Enum):
    """The API whose shapes a route reads and writes."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class Place:
    """About where a request is in the queue, and how many seconds it will wait."""

    position: int
    wait_s: float


@dataclass(slots=True)
class Outcome:
    """The results of a request so far, for its headers and its line in the access log.

    `id` is the gateway's own and unique, `client_id` may be the client's.
    """

    id: str
    client_id: str
    method: str
    path: str
    dialect: Dialect = Dialect.OPENAI
    caller: Caller = ANONYMOUS
    started_s: float = field(default_factory=time.perf_counter)
    status: int = 0
    model: str | None = None
    usage: Usage | None = None
    is_estimated: bool = False
    """Whether an upstream did not count the tokens."""
    rates: Rates | None = None
    """What is left of the caller's limits, for the headers."""
    error: str | None = None
    ended: int = 0
    """The status as the path settles it, 499 where the client went away. 0: no model was asked."""
    ran: bool = False
    """Whether a model has seen the request."""
    upstream: str = ""
    images: int = 0
    credits: int = 0
    """Credits that it costs, in millionths."""
    canary: str = ""
    """The name that was asked for, if several models share its requests."""
    cache: CacheUse | None = None
    """What the response cache is asked, and did; None: it is not used for the route."""
    is_authenticated: bool = False
    is_audited: bool = True
    is_view: bool = False
    """Whether a page or a monitor looks at something: the audit keeps it only if it is refused."""
    has_audit_place: bool = False
    """Whether the audit has reserved room for its record."""
    capture: Capture | None = None
    """The content for the audit; None: nothing of it is kept."""
    route: str = ""
    """The path in the route table, with its parameters' names."""
    queued_s: float = 0.0
    """How long the request waited for slots."""
    first_token_s: float | None = None
    """How long after the request's arrival its first token came."""
    trace: Trace = UNTRACED
    streams: list[Callable[[], None]] = field(default_factory=list)
    """What ends the measurements of its generations."""
    is_counted: bool = False
    """Whether the metrics have it as a request for a model."""
    queue_position: int | None = None
    """The request's position when it began to wait for a slot."""
    place: Callable[[], Place | None] = lambda: None
    """Its place in the queue now; None: it does not wait."""
    warnings: list[str] = field(default_factory=list)
    """For the client; sent in a header where it is not too late for one."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The caller's names of fields, by their canonical names."""
    cleanup: ExitStack = field(default_factory=ExitStack)
    """Called when the request has ended."""

    @property
    def is_cached(self) -> bool:
        """Whether the whole answer came from the response cache."""
        return self.cache is not None and self.cache.result == "hit"

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the request arrived."""
        return (time.perf_counter() - self.started_s) * 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a caller who may make it. `deadline_s` is a time of `time.monotonic`."""

    id: str
    caller: Caller
    dialect: Dialect
    deadline_s: float
    outcome: Outcome
    background_s: float | None = None
    """Seconds of each call of a request that lets all others go first; None: it does not."""
    session: str = ""
    """The header `x-session-id`: requests of one session stay at one upstream if they can."""

    @property
    def user(self) -> str:
        """The id of whom shares of memory, processes and time are counted for."""
        return self.caller.user

    @property
    def call_s(self) -> float:
        """Seconds that a call which begins now may take."""
        return self.left_s if self.background_s is None else min(self.left_s, self.background_s)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline_s - time.monotonic()
