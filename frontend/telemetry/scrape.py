"""Reads the metrics of upstreams regularly, for the gateway's own /metrics.

Threads read: time, bytes and samples are bounded. The operator chose the addresses; redirects are
not followed. What an upstream said last is kept for a short while, marked as stale.
"""

import asyncio
import http.client
import logging
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from frontend.background import in_background
from frontend.telemetry.exposition import Page, join, read_page

TIMEOUT_S = 2.0
MAX_BYTES = 8 * 2**20
"""A Triton with 100 models and all its metrics has about 1 MiB."""
MAX_SAMPLES = 50_000
_KEPT_S = 60.0
_THREADS = 4
_CHUNK = 65_536
_log = logging.getLogger(__name__)


class ScrapeFailed(Exception):
    """Says why an upstream's metrics could not be read."""


@dataclass(slots=True)
class Source:
    """One upstream's metrics as they were read last."""

    url: str
    page: Page | None = None
    read_at_s: float = 0.0
    is_stale: bool = True


@dataclass(slots=True)
class Scraper:
    """Reads `urls`, by upstream, every `interval_s`."""

    urls: Mapping[str, str]
    interval_s: float
    timeout_s: float = TIMEOUT_S
    sources: dict[str, Source] = field(init=False)
    text: bytes = b""
    """The metrics of all upstreams, in Prometheus's format."""

    def __post_init__(self) -> None:
        self.sources = {name: Source(url) for name, url in self.urls.items()}

    @property
    def stale(self) -> dict[str, float]:
        """1 for each upstream that did not answer last time."""
        return {name: float(one.is_stale) for name, one in self.sources.items()}

    @property
    def dropped(self) -> dict[str, float]:
        """Samples of each upstream that were left out."""
        return {n: float(one.page.dropped) for n, one in self.sources.items() if one.page}

    @property
    def ages_s(self) -> dict[str, float]:
        """How old each upstream's metrics are."""
        now_s = time.monotonic()
        return {n: now_s - one.read_at_s for n, one in self.sources.items() if one.page}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reads until the block ends."""
        if not self.sources:
            yield
            return
        with ThreadPoolExecutor(_THREADS, "scrape") as threads:
            async with in_background(self._run(threads)):
                yield

    async def _run(self, threads: ThreadPoolExecutor) -> None:
        while True:
            await self.scrape(threads)
            await asyncio.sleep(self.interval_s)

    async def scrape(self, threads: ThreadPoolExecutor) -> None:
        """Reads all upstreams once."""
        loop = asyncio.get_running_loop()
        names = [*self.sources]
        reads = [
            loop.run_in_executor(threads, _read, self.sources[name].url, name, self.timeout_s)
            for name in names
        ]
        for name, result in zip(
            names, await asyncio.gather(*reads, return_exceptions=True), strict=True
        ):
            self._note(name, self.sources[name], result)
        kept = [one.page for one in self.sources.values() if one.page is not None]
        self.text = await loop.run_in_executor(threads, join, kept)

    def _note(self, name: str, source: Source, result: Page | BaseException) -> None:
        now_s = time.monotonic()
        if isinstance(result, Page):
            source.page, source.read_at_s, source.is_stale = result, now_s, False
            return
        if not isinstance(result, ScrapeFailed):
            raise result
        if not source.is_stale or (source.page is None and not source.read_at_s):
            source.read_at_s = source.read_at_s or now_s
            _log.warning("the metrics of the upstream %s cannot be read: %s", name, result)
        source.is_stale = True
        if now_s - source.read_at_s > _KEPT_S:
            source.page = None


def _read(url: str, upstream: str, timeout_s: float) -> Page:
    """Reads a page of metrics. Raises ScrapeFailed if it cannot be read."""
    try:
        text = _get(url, timeout_s).decode()
    except (OSError, http.client.HTTPException, ValueError) as error:
        # the text of the others may be what the upstream sent
        own = isinstance(error, OSError) and str(error)
        raise ScrapeFailed(own or type(error).__name__) from None
    return read_page(text, upstream, MAX_SAMPLES)


def _get(url: str, timeout_s: float) -> bytes:
    ends_s = time.monotonic() + timeout_s
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"accept": "text/plain", "connection": "close"})
        assert connection.sock is not None
        socket = connection.sock
        response = connection.getresponse()
        if response.status != 200:
            raise ScrapeFailed(f"status {response.status}")
        body = bytearray()
        while chunk := response.read1(_CHUNK):
            body += chunk
            left_s = ends_s - time.monotonic()
            if len(body) > MAX_BYTES:
                raise ScrapeFailed(f"more than {MAX_BYTES} bytes")
            if left_s <= 0:
                raise ScrapeFailed(f"not read within {timeout_s:g} s")
            socket.settimeout(left_s)
        return bytes(body)
    finally:
        connection.close()
