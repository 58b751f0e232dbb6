"""The gateway's metrics, in a registry of its own: two gateways in one process count apart.

Labels take values from the code and from the names of served models, never from a request. Where
the environment has PROMETHEUS_MULTIPROC_DIR, the processes that share that folder are counted
together, whichever of them is asked.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from frontend.domain.metering import UsageRow
from frontend.domain.request import Outcome
from frontend.telemetry.histograms import Add, adding
from frontend.telemetry.history import Values, gpu_values, values_of
from frontend.telemetry.processes import begin_process, registry_of_all
from frontend.telemetry.runs import KINDS, Runs
from frontend.telemetry.scrape import Scraper

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_CLIENT_GONE = 499

Read = Callable[[], float | Mapping[str, float]]
Mode = Literal["livesum", "livemin", "livemax"]


@dataclass(slots=True)
class _Watched:
    """A gauge that is read when somebody asks; several values are those of its label."""

    gauge: Gauge
    read: Read

    def refresh(self) -> None:
        values = self.read()
        if not isinstance(values, Mapping):
            self.gauge.set(values)
            return
        # what is gone stays at 0 where processes share their files: those cannot remove a label
        for (label,) in tuple(self.gauge._metrics):
            if label not in values:
                self.gauge.labels(label).set(0)
        for label, value in values.items():
            self.gauge.labels(label).set(value)


class Metrics:
    """The gateway's counters, gauges and histograms, and their text for Prometheus."""

    def __init__(self, scraper: Scraper | None = None, *, by_user: bool = False) -> None:
        self.scraper = scraper or Scraper({}, 1)
        self._folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if self._folder is not None:
            begin_process(self._folder)
        # else each counter has a second series with the time of its creation
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        if self._folder is None:
            ProcessCollector(registry=self._registry)  # CPU, memory, file descriptors
        self._watched: dict[str, _Watched] = {}
        self.runs = Runs(self._registry, by_user=by_user)
        self.blocks = self._count(
            "event_loop_blocks", "How often the event loop was blocked for longer than its limit"
        )
        self.blocked_s = self._count(
            "event_loop_blocked_seconds", "How long the event loop was blocked in these cases"
        )
        self.refused = self._count(
            "connections_refused", "Connections refused because there were too many"
        )
        self._http = self._count(
            "http_requests", "HTTP requests; 499: the client went away", "route", "status"
        )
        self._answers: dict[tuple[str, int], Add] = {}
        requests = self._count("usage_requests", "Requests that models have seen")
        self._requests = adding(requests)
        self._failures = self._count(
            "usage_failures", "Requests that models have seen and that failed"
        )
        tokens = self._count("usage_tokens", "Tokens that were charged", "kind")
        self._tokens = tuple(adding(tokens.labels(kind)) for kind in KINDS)
        self._images = self._count("usage_images", "Images that were made")
        self._credits = self._count("usage_credits", "Credits that were spent")
        self._price = self._count("usage_price", "Money that requests cost, in the price's unit")
        self.audit_records = self._count("audit_records", "Audit records that were written")
        self.audit_lost = self._count("audit_records_lost", "Audit records that could not be kept")
        self.artifacts_lost = self._count(
            "audit_artifacts_lost",
            "Audited images and files that found no room",
        )
        self.usage_lost = self._count("usage_lost", "Requests without limits that are not in usage")
        self.log_lines_lost = self._count(
            "log_lines_lost", "Log lines that a sink refused or that did not fit", "sink"
        )
        self.spans_sent = self._count("trace_spans_sent", "Spans that the collector of traces took")
        self.spans_lost = self._count(
            "trace_spans_lost", "Spans that it did not take, or that did not fit into the queue"
        )
        self._watch_scraper(self.scraper)

    def _watch_scraper(self, scraper: Scraper) -> None:
        self.watch(
            "upstream_metrics_stale", "Whether an upstream's metrics could not be read last time",
            lambda: scraper.stale, "upstream",
        )  # fmt: skip
        self.watch(
            "upstream_metrics_age_seconds", "How old an upstream's metrics are",
            lambda: scraper.ages_s, "upstream",
        )  # fmt: skip
        self.watch(
            "upstream_metrics_dropped", "Samples of an upstream that were invalid or too many",
            lambda: scraper.dropped, "upstream",
        )  # fmt: skip

    def watch(
        self, name: str, meaning: str, read: Read, label: str = "", *, mode: Mode = "livesum"
    ) -> None:
        """Adds a gauge. `read` is called in the event loop when somebody asks for the metrics; with
        a `label` it returns the values by that label, which must be few. `mode`: what is made of
        the values of several processes."""
        gauge = Gauge(
            f"gateway_{name}", meaning, [label] if label else [], registry=self._registry,
            multiprocess_mode=mode,
        )  # fmt: skip
        self._watched[name] = _Watched(gauge, read)

    def watched(self, name: str) -> float | Mapping[str, float]:
        """The present value of a gauge."""
        return self._watched[name].read()

    def answered(self, outcome: Outcome) -> None:
        """Counts an HTTP request, and as a request for a model where it was refused before."""
        status = outcome.status or _CLIENT_GONE
        key = outcome.route or "unknown", status
        if (add := self._answers.get(key)) is None:
            add = self._answers[key] = adding(self._http.labels(*key))
        add(1)
        if status >= 400 and outcome.error and not outcome.is_counted:
            self.runs.refused(outcome.error)

    def charge(self, row: UsageRow) -> None:
        """Counts a request that is in the database."""
        used = row.usage
        self._requests(1)
        counts = used.prompt_tokens, used.cached_tokens, used.completion_tokens
        for add, tokens in zip(self._tokens, (*counts, used.reasoning_tokens), strict=True):
            if tokens:
                add(tokens)
        if row.status >= 400:
            self._failures.inc()
        if row.images:
            self._images.inc(row.images)
        # the ledger counts in millionths, so that its sums are exact integers
        if row.credits:
            self._credits.inc(row.credits / 1e6)
        if row.price:
            self._price.inc(row.price / 1e6)

    def _count(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"gateway_{name}", meaning, labels, registry=self._registry)

    def refresh(self) -> None:
        """Reads what is watched; in the event loop, which owns it."""
        for one in self._watched.values():
            one.refresh()

    def values(self) -> Values:
        """All samples as they were refreshed last, and those of the GPUs; in any thread."""
        pages = [one.page for one in self.scraper.sources.values() if one.page is not None]
        with self._whole() as whole:
            return values_of(whole.collect()) | gpu_values(pages)

    def render(self) -> bytes:
        """All of it as it was refreshed last, in Prometheus's text format; in any thread."""
        with self._whole() as whole:
            return generate_latest(whole) + self.scraper.text

    def _whole(self) -> AbstractContextManager[CollectorRegistry]:
        return (
            nullcontext(self._registry) if self._folder is None else registry_of_all(self._folder)
        )
