"""What requests to models came to and how long they took, as metrics.

Labels are names of served models, dialects, statuses and the code's own reasons: nothing that a
caller can choose. A user is a label only where the settings ask for it. Memory is bounded: beyond
its limit a label's further values are `other`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge

from frontend.domain.events import Event
from frontend.domain.request import Dialect, Outcome, Request
from frontend.domain.usage import Usage
from frontend.telemetry.histograms import LONG_S, SHORT_S, Add, Durations, Gaps, adding, durations

UNKNOWN, OTHER = "unknown", "other"
_MAX_MODELS = 500
_MAX_USERS = 1000
_MAX_REASONS = 100
KINDS = ("prompt", "cached", "completion", "reasoning")


@dataclass(slots=True)
class ModelFigures:
    """One model's metrics, found once: to look a label up takes longer than to count."""

    name: str
    queue: Durations
    first_token: Durations
    between_tokens: Durations
    duration: Durations
    running: Add
    waiting: Add
    tokens: tuple[Counter, ...]
    add_tokens: tuple[Add, ...]
    ends: dict[tuple[Dialect, int], Add] = field(default_factory=dict)


@dataclass(slots=True)
class Turn:
    """One wait for a slot, and the work in it."""

    figures: ModelFigures
    request: Request
    begun_s: float = field(default_factory=perf_counter)
    runs: bool = False

    def __enter__(self) -> "Turn":
        self.figures.waiting(1)
        return self

    def __exit__(self, *_: object) -> None:
        (self.figures.running if self.runs else self.figures.waiting)(-1)

    def begin(self) -> None:
        """The wait has ended."""
        self.runs = True
        waited_s = perf_counter() - self.begun_s
        self.figures.waiting(-1)
        self.figures.running(1)
        self.figures.queue.observe(waited_s)
        self.request.outcome.queued_s += waited_s


class Stream:
    """The tokens of one generation as they come. `saw` takes a group of events that just came."""

    __slots__ = ("_figures", "_gaps", "_outcome", "saw")

    def __init__(self, figures: ModelFigures, outcome: Outcome) -> None:
        self._figures, self._outcome, self._gaps = figures, outcome, Gaps()
        self.saw: Callable[[list[Event]], None] = self._saw_first

    def _saw_first(self, events: list[Event]) -> None:
        now_s, outcome = perf_counter(), self._outcome
        self._gaps.saw(events)
        self.saw = self._gaps.saw  # from now on without a call between
        if outcome.first_token_s is None:
            outcome.first_token_s = now_s - outcome.started_s
            self._figures.first_token.observe(outcome.first_token_s)

    def close(self) -> None:
        """The request has ended."""
        self._gaps.add_to(self._figures.between_tokens)


class Runs:
    """The metrics of all requests to models."""

    def __init__(self, registry: CollectorRegistry | None = None, *, by_user: bool = False) -> None:
        to = CollectorRegistry() if registry is None else registry
        self._requests = _counter(
            "requests", "Requests for a model, by status; 499: the client went away",
            ["dialect", "model", "status"], to,
        )  # fmt: skip
        self._refusals = _counter(
            "refusals", "Requests refused before a model saw them", ["reason"], to
        )
        self._reservations = _counter(
            "reservations", "Answers to requests for tokens, requests or credits", ["result"], to
        )
        self._opened = adding(
            _gauge("reservations_open", "Reservations of running requests", [], to)
        )
        self._started = adding(
            _counter(
                "usage_started", "Requests that models have seen and that end in usage", [], to
            )
        )
        self._tokens = _counter("tokens", "Tokens that models counted", ["model", "kind"], to)
        self._running = _gauge("requests_running", "Requests that hold a slot", ["model"], to)
        self._waiting = _gauge("requests_waiting", "Requests that wait for a slot", ["model"], to)
        self._queue = durations("queue_wait", "From the queue to a slot", LONG_S, to)
        self._first = durations(
            "time_to_first_token", "From a request's arrival to its first token", LONG_S, to
        )
        self._between = durations(
            "inter_token_latency", "Between two tokens of an answer", SHORT_S, to
        )
        self._duration = durations("request_duration", "From arrival to end", LONG_S, to)
        self._cached = _counter(
            "cache_requests", "Answers that were looked for in the response cache, by what came",
            ["model", "result"], to,
        )  # fmt: skip
        self._canaries = _counter(
            "canary_requests", "Requests that the models of a canary answered, by result",
            ["canary", "target", "result"], to,
        )  # fmt: skip
        self._models: dict[str, ModelFigures] = {}
        self._answers: dict[str, Add] = {}
        self._reasons: dict[str, Counter] = {}
        self._users: set[str] = set()
        self._by_user = self._user_tokens = None
        if by_user:
            self._by_user = _counter("user_requests", "Requests of each user", ["user"], to)
            self._user_tokens = _counter("user_tokens", "Tokens of each user", ["user", "kind"], to)

    def of(self, model: str) -> ModelFigures:
        """The metrics of a model, which must be one that is served."""
        if (figures := self._models.get(model)) is None:
            name = model if len(self._models) < _MAX_MODELS else OTHER
            figures = self._models[name] = self._models.get(name) or self._make(name)
        return figures

    def _make(self, model: str) -> ModelFigures:
        tokens = tuple(self._tokens.labels(model, kind) for kind in KINDS)
        return ModelFigures(
            model,
            self._queue.labels(model),
            self._first.labels(model),
            self._between.labels(model),
            self._duration.labels(model),
            adding(self._running.labels(model)),
            adding(self._waiting.labels(model)),
            tokens,
            tuple(map(adding, tokens)),
        )

    @property
    def tokens(self) -> dict[str, float]:
        """Tokens of all models by kind, as far as this process counted them."""
        sums = dict.fromkeys(KINDS, 0.0)
        # several names may share the figures of `other`
        for figures in {id(one): one for one in self._models.values()}.values():
            for kind, counter in zip(KINDS, figures.tokens, strict=True):
                sums[kind] += counter._value.get()
        return sums

    def turn(self, model: str, request: Request) -> Turn:
        """Counts a request as waiting in its block, and as running once the turn begins."""
        return Turn(self.of(model), request)

    def stream(self, model: str, request: Request) -> Stream:
        """Watches a generation; its first token is the request's, unless an earlier one was."""
        stream = Stream(self.of(model), request.outcome)
        request.outcome.streams.append(stream.close)
        return stream

    def reserved(self, result: str, *, first: bool = False) -> None:
        """An answer of the ledger; the `first` grant opens the request's reservation."""
        if (add := self._answers.get(result)) is None:
            add = self._answers[result] = adding(self._reservations.labels(result))
        add(1)
        if first:
            self._opened(1)

    def settled(self, reserved: bool, started: bool) -> None:
        """A request was handed to the ledger, which charges it if a model has seen it."""
        if reserved:
            self._opened(-1)
        if started:
            self._started(1)

    def ended(self, request: Request, model: str | None, status: int, reason: str | None) -> None:
        """A request has ended. `model` is a served one; `reason`: why no model saw the request."""
        outcome = request.outcome
        figures = self.of(model or UNKNOWN)
        # whichever way the request ends: those who give up have the slow streams
        for close in outcome.streams:
            close()
        outcome.streams.clear()
        key = request.dialect, status
        if (add := figures.ends.get(key)) is None:
            add = adding(self._requests.labels(request.dialect.value, figures.name, status))
            figures.ends[key] = add
        add(1)
        outcome.is_counted = True
        figures.duration.observe(outcome.elapsed_ms / 1000)
        if reason is not None:
            self.refused(reason)
        usage = outcome.usage or Usage()
        counts = usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
        for add, tokens in zip(figures.add_tokens, (*counts, usage.reasoning_tokens), strict=True):
            if tokens:
                add(tokens)
        if self._by_user is not None:
            self._count_user(request.user, usage)

    def cached(self, model: str, result: str) -> None:
        """Counts the result of a cache lookup for a served model: hit, miss or bypass."""
        self._cached.labels(self.of(model).name, result).inc()

    def shared(self, canary: str, target: str, *, failed: bool) -> None:
        """Counts the result of a request that a canary sent to one of its targets."""
        # both names are an administrator's, and canaries are few
        self._canaries.labels(canary, target, "error" if failed else "ok").inc()

    def refused(self, reason: str) -> None:
        """A request was refused for a reason of the code's own."""
        if (counter := self._reasons.get(reason)) is None:
            if len(self._reasons) >= _MAX_REASONS:
                reason = OTHER
            counter = self._reasons[reason] = self._refusals.labels(reason)
        counter.inc()

    def _count_user(self, user: str, usage: Usage) -> None:
        assert self._by_user is not None
        assert self._user_tokens is not None
        if user not in self._users:
            if len(self._users) >= _MAX_USERS:
                user = OTHER
            self._users.add(user)
        self._by_user.labels(user).inc()
        self._user_tokens.labels(user, "prompt").inc(usage.prompt_tokens)
        self._user_tokens.labels(user, "completion").inc(usage.completion_tokens)


def _counter(name: str, meaning: str, labels: list[str], to: CollectorRegistry) -> Counter:
    return Counter(f"gateway_{name}", meaning, labels, registry=to)


def _gauge(name: str, meaning: str, labels: list[str], to: CollectorRegistry) -> Gauge:
    return Gauge(f"gateway_{name}", meaning, labels, registry=to, multiprocess_mode="livesum")
