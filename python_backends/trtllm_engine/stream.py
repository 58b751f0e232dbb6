"""Converts the responses of NVIDIA's model to the contract's events. Pure; one request's state.

A response's `text_output` is the text so far. Each response adds one token, and the last one has
the finish reason.
"""

from dataclasses import dataclass
from typing import Any

_REASONS = {"stop": "stop", "end_id": "stop", "stop_words": "stop", "length": "length"}
_UNFINISHED = {"", "None", "not_finished"}
_BROKEN = "\ufffd"


@dataclass(slots=True)
class Stream:
    """`prompt_tokens` of the request; the events carry the usage."""

    prompt_tokens: int
    sent: str = ""
    tokens: int = 0
    finished: bool = False

    def event(self, text: str, reason: str, stop_reason: str = "None") -> dict[str, Any]:
        """The event of one answer. `reason` is `None` until the last one."""
        # the text so far, unless a version answers with deltas: then it is appended
        whole = text if text.startswith(self.sent) else self.sent + text
        self.finished = reason not in _UNFINISHED
        # half a character comes whole with the next token
        shown = whole if self.finished else whole.rstrip(_BROKEN)
        delta, self.sent = shown[len(self.sent) :], shown
        self.tokens += 1
        ended = _REASONS.get(reason, "abort") if self.finished else None
        return {
            "index": 0,
            "text": delta,
            "token_ids": [],
            "logprobs": None,
            "finish_reason": ended,
            "stop_reason": None if stop_reason == "None" else stop_reason,
            "usage": self.usage(),
        }

    def aborted(self) -> dict[str, Any]:
        """The last event of a request that was cancelled."""
        self.finished = True
        event = {"index": 0, "text": "", "token_ids": [], "logprobs": None}
        return {**event, "finish_reason": "abort", "stop_reason": None, "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": 0,
            "completion_tokens": self.tokens,
        }
