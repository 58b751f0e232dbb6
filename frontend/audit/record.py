"""Makes the record of a request: its caller, content and result.

`begin` runs when the caller is known and before the request has a cost; `end` runs once, however
the request ends. It does not know HTTP, or how records are written.
"""

import secrets
import time
from dataclasses import dataclass, field

from frontend.audit.writer import Pending, Writer
from frontend.domain.audit import AuditLevel, AuditPolicy, AuditRecord, Capture
from frontend.domain.identity import Caller
from frontend.domain.request import Outcome
from frontend.domain.usage import Usage
from frontend.store.audit import SLOTS

CLIENT_GONE = 499
_RECENT = 50_000  # moments that are remembered: more than requests that run
_GONE = ("client_gone", "client_stalled")


@dataclass(slots=True)
class Recorder:
    """Makes the records of one process. `default` is the policy of groups without one."""

    writer: Writer
    default: AuditPolicy = field(default_factory=AuditPolicy)
    _slot: int = field(default_factory=lambda: secrets.randbelow(SLOTS))
    _recent: dict[int, None] = field(default_factory=dict)

    def policy_of(self, caller: Caller) -> AuditPolicy:
        """The audit policy of the caller's group."""
        return caller.audit or self.default

    def begin(self, outcome: Outcome, *, has_text: bool) -> None:
        """Prepares to capture the content. `has_text`: the route's bodies are for models, and not
        passwords. Raises AuditUnavailable where the policy is strict and there is no room.
        """
        policy = self.policy_of(outcome.caller)
        if policy.level is AuditLevel.NONE:
            return
        keeps_text = policy.keeps_text and has_text
        if policy.strict and keeps_text:
            self.writer.reserve()
            outcome.has_audit_place = True
        outcome.capture = Capture(keeps_text)

    def end(self, outcome: Outcome, address: str) -> None:
        """Passes the record to the writer. Never waits."""
        if outcome.has_audit_place:
            self.writer.release()
        if not outcome.is_audited or self.policy_of(outcome.caller).level is AuditLevel.NONE:
            return
        if outcome.is_view and outcome.status < 400:
            return  # the log has a line for it
        capture = outcome.capture
        keeps_text = capture is not None and capture.keeps_text
        record = self._record(outcome, address, keeps_text=keeps_text)
        kept = capture if keeps_text else None
        self.writer.add(Pending(record, kept, outcome.has_audit_place))

    def _record(self, outcome: Outcome, address: str, *, keeps_text: bool) -> AuditRecord:
        caller, usage, capture = outcome.caller, outcome.usage or Usage(), outcome.capture
        status = _status_of(outcome)
        return AuditRecord(
            id=self._next_id(int(outcome.elapsed_ms * 1000)),
            request_id=outcome.id,
            client_id="" if outcome.client_id == outcome.id else outcome.client_id,
            group_id=caller.group,
            user_id=caller.user if outcome.is_authenticated else "",
            user_name=caller.name if outcome.is_authenticated else "",
            key_id=caller.key,
            dialect=outcome.dialect.value,
            method=outcome.method[:16],
            route=outcome.route,
            model=outcome.model or "",
            upstream=outcome.upstream,
            decision=_decision_of(outcome, status),
            status=status,
            error=outcome.error or "",
            ran=outcome.ran,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            images=outcome.images,
            credits_micro=outcome.credits,
            queue_us=int(outcome.queued_s * 1e6),
            first_token_us=_us(outcome.first_token_s),
            duration_us=int(outcome.elapsed_ms * 1000),
            address=address,
            digest=None if capture is None else capture.digest,
            level=(AuditLevel.FULL if keeps_text else AuditLevel.METADATA).value,
        )

    def _next_id(self, ago_us: int) -> int:
        """Of the moment when the request began; never twice in this process."""
        at_us = time.time_ns() // 1000 - ago_us
        # two requests may have begun within a microsecond
        while at_us in self._recent:
            at_us += 1
        self._recent[at_us] = None
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
        return at_us * SLOTS + self._slot


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e6)


def _status_of(outcome: Outcome) -> int:
    """As usage has it, where a model has seen the request."""
    if outcome.ended:
        return outcome.ended
    return CLIENT_GONE if outcome.error in _GONE or not outcome.status else outcome.status


def _decision_of(outcome: Outcome, status: int) -> str:
    if outcome.is_cached:
        return "cached"
    if status == CLIENT_GONE:
        return "cancelled"
    return "allowed" if outcome.ran or status < 400 else "refused"
