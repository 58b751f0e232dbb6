"""The spans of one request: the request, each wait for a turn, and each call to an upstream.

Names and attributes are those of OpenTelemetry's conventions for HTTP and for generative AI
(semantic-conventions-genai 1.41); `gateway.*` are our own. Nothing that a caller can write is in
them, but the text of requests whose audit keeps it as well.
"""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from frontend.domain.events import Event
from frontend.domain.generation import Generation
from frontend.domain.trace import Headers, Step, Trace
from frontend.domain.usage import Usage, UsageCount
from frontend.errors import GatewayError
from frontend.telemetry.traces.content import MAX_TEXT, input_messages, output_messages

_PROPAGATOR = TraceContextTextMapPropagator()


class SpanStep(Step):
    """One call, as two spans: the wait, and the work. `text`: prompts and answers are recorded."""

    def __init__(
        self,
        trace: "SpanTrace",
        model: str,
        operation: str,
        generation: Generation | None,
        *,
        text: bool,
    ) -> None:
        self._trace, self._model, self._operation = trace, model, operation
        self._generation, self._text = generation, text
        self._span: Span | None = None
        self._works = False
        self._begun_s = 0.0
        self._first_s: float | None = None
        self._used: Usage | None = None
        self._last: dict[int, Event] = {}
        self._answers: dict[int, list[str]] = {}
        self._size = 0

    def __enter__(self) -> "SpanStep":
        """Starts the span of the wait."""
        attributes = {"gateway.model": self._model}
        self._span = self._trace.start("queue", SpanKind.INTERNAL, attributes)
        return self

    def begin(self, upstream: str, engine: str, *, external: bool) -> None:
        """Ends the wait, and starts the span of the call."""
        assert self._span is not None
        self._span.end()
        name = f"{self._operation} {self._model}"
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": self._operation,
            "gen_ai.provider.name": engine,
            "gen_ai.request.model": self._model,
            "gateway.upstream": upstream,
            **_request_attributes(self._generation),
        }
        if self._operation == "generate_content":
            attributes["gen_ai.output.type"] = "image"
        self._span = self._trace.start(name, SpanKind.CLIENT, attributes)
        self._works, self._begun_s = True, time.perf_counter()
        # a server outside the site must not learn how this site's requests belong together
        self.headers = () if external else headers_of(self._span)

    def saw(self, events: list[Event]) -> None:
        """Notes the first token, the usage so far, and how each completion ended."""
        if self._first_s is None and self._span is not None:
            self._first_s = time.perf_counter() - self._begun_s
            self._span.add_event("first_token")
        # each token comes through here: counts and reasons are read from the last event of each
        for event in events:
            self._last[event.index] = event
        if self._text:
            self._keep(events)

    def _keep(self, events: list[Event]) -> None:
        for event in events:
            if self._size < MAX_TEXT:
                self._answers.setdefault(event.index, []).append(event.text)
                self._size += len(event.text)

    def used(self, usage: Usage) -> None:
        """Takes the usage of a call that has no events."""
        self._used = usage

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends what is open."""
        span = self._span
        assert span is not None
        if self._works:
            span.set_attributes(self._results())
        if error is not None:
            fail(span, _type_of(error))
        span.end()

    def _results(self) -> dict[str, Any]:
        found: dict[str, Any] = {"gen_ai.response.model": self._model}
        if (usage := self._usage) is not None:
            found |= _usage_attributes(usage)
        reasons = {
            index: one.finish_reason
            for index, one in sorted(self._last.items())
            if one.finish_reason is not None
        }
        if reasons:
            found["gen_ai.response.finish_reasons"] = [*reasons.values()]
        if self._first_s is not None:
            found["gen_ai.response.time_to_first_chunk"] = self._first_s
        if self._text and self._generation is not None:
            found["gen_ai.output.messages"] = output_messages(self._answers, reasons)
            if (messages := input_messages(self._generation)) is not None:
                found["gen_ai.input.messages"] = messages
        return found

    @property
    def _usage(self) -> Usage | None:
        if not self._last:
            return self._used
        count = UsageCount()
        for event in self._last.values():
            count.see(0, event)
        return count.total


class SpanTrace(Trace):
    """One request that is recorded."""

    def __init__(self, tracer: Tracer, span: Span, *, text: bool) -> None:
        """`text`: whether prompts are recorded for those whose audit keeps them."""
        self.id = f"{span.get_span_context().trace_id:032x}"
        self.span = span
        self._tracer, self._text = tracer, text
        self._context = set_span_in_context(span, Context())

    def step(
        self, model: str, operation: str, generation: Generation | None, *, keeps_text: bool
    ) -> SpanStep:
        """A call to a model."""
        text = self._text and keeps_text
        return SpanStep(self, model, operation, generation, text=text)

    def start(self, name: str, kind: SpanKind, attributes: Mapping[str, Any]) -> Span:
        """A span below that of the request."""
        return self._tracer.start_span(name, self._context, kind, dict(attributes))


class UnsampledTrace(Trace):
    """One request that is not recorded; its headers tell upstreams not to record it either."""

    def __init__(self, span: Span) -> None:
        self.id = f"{span.get_span_context().trace_id:032x}"
        self._headers = headers_of(span)

    def step(
        self, model: str, operation: str, generation: Generation | None, *, keeps_text: bool
    ) -> Step:
        """A call to a model."""
        return _UnsampledStep(self._headers)


class _UnsampledStep(Step):
    def __init__(self, given: Headers) -> None:
        self._given = given

    def begin(self, upstream: str, engine: str, *, external: bool) -> None:
        """The upstream learns that its part is not recorded either."""
        self.headers = () if external else self._given


def headers_of(span: Span) -> Headers:
    """W3C headers that name a span as the parent."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
    return tuple(carrier.items())


def fail(span: Span, kind: str) -> None:
    """Marks a span as failed."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _type_of(error: BaseException) -> str:
    if isinstance(error, GatewayError):
        return error.code or error.type
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "cancelled"
    return type(error).__name__


def _request_attributes(generation: Generation | None) -> dict[str, Any]:
    if generation is None:
        return {}
    sampling = generation.sampling
    found: dict[str, Any] = {
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.request.frequency_penalty": sampling.frequency_penalty,
        "gen_ai.request.presence_penalty": sampling.presence_penalty,
        "gen_ai.request.choice.count": sampling.choices if sampling.choices != 1 else None,
        "gen_ai.output.type": None if generation.structure is None else "json",
    }
    return {name: value for name, value in found.items() if value is not None}


def _usage_attributes(usage: Usage) -> dict[str, int]:
    found = {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
    }
    if usage.cached_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
    if usage.reasoning_tokens:
        found["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
    return found
