"""Runs one request of a batch on the route that it names, as its owner."""

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from frontend.audit.record import Recorder
from frontend.batches.callers import read_caller
from frontend.domain.batches import Batch
from frontend.domain.labels import Rules
from frontend.domain.request import Dialect, Outcome, Request
from frontend.http.perform import perform
from frontend.http.routing import Handler

if TYPE_CHECKING:
    from frontend.telemetry.traces.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Performer:
    """`handler` finds that of an endpoint; `timeout_s` is how long each call of it may take;
    `rules_of` says where the prompts of the owner's group may be sent now, given where they might
    be when the batch was made."""

    handler: Callable[[str], Handler]
    timeout_s: float
    rules_of: Callable[[str, Rules], Awaitable[Rules]]
    recorder: Recorder | None = None
    tracing: "Tracing | None" = None

    async def __call__(self, batch: Batch, body: bytes) -> tuple[int, bytes, str]:
        """(status, body, request id)."""
        own = uuid.uuid4().hex
        caller = read_caller(batch.caller)
        # a policy that was made stricter holds for batches that wait, too
        caller = replace(caller, rules=await self.rules_of(caller.group, caller.rules))
        outcome = Outcome(own, own, "POST", batch.endpoint, caller=caller)
        deadline_s = time.monotonic() + max(0.0, batch.expires_s - time.time())
        request = Request(own, caller, Dialect.OPENAI, deadline_s, outcome, self.timeout_s)
        handler = self.handler(batch.endpoint)
        if self.tracing is None:
            return *await perform(handler, request, body, self.recorder), own
        outcome.trace = self.tracing.begin(outcome, batch=batch.id)
        try:
            return *await perform(handler, request, body, self.recorder), own
        finally:
            self.tracing.end(outcome)
