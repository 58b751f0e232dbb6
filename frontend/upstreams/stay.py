"""How long one model stays loaded, and which requests use it meanwhile."""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from frontend.errors import GatewayError


@dataclass(slots=True)
class Stay:
    """How long one model stays. `keep_s` is infinite for a model that is always loaded."""

    keep_s: float
    running: int = 0
    active: int = 0
    """Those of the running requests that do not wait for the model any more."""
    until_s: float = math.inf
    """A time of `time.monotonic`."""
    used_at_s: float | None = None
    """When it last had a request, in seconds since 1970."""
    change: asyncio.Task[None] | None = None
    state: str = ""
    """Loading or unloading, while it is changed."""
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    loaded_at_s: float = -math.inf
    """A time of `time.monotonic`, as far as this gateway knows."""
    loads: int = 0
    """How often it was loaded since this gateway began."""
    failure: GatewayError | None = None
    failed_at_s: float = -math.inf

    @property
    def idle(self) -> bool:
        """Whether it can be unloaded now."""
        over = time.monotonic() >= self.until_s
        return over and not self.running and self.change is None

    def extend(self) -> None:
        """From now on it stays for `keep_s`."""
        self.until_s = time.monotonic() + self.keep_s

    @contextlib.contextmanager
    def active_request(self) -> Iterator[None]:
        """The block uses the loaded model."""
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            self.used_at_s = time.time()
            if not self.active:
                self.drained.set()

    async def drain(self) -> None:
        """Returns when no request uses the model."""
        while self.active:
            self.drained.clear()
            await self.drained.wait()
