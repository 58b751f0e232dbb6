"""The events of one completion."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Event:
    """What happened to one completion since its last event: deltas, and counts so far."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: str | None
    stop_reason: str | int | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    logprobs: list[dict[str, Any]] | None = None
    prompt_logprobs: list[dict[str, Any] | None] | None = None
    prompt_token_ids: list[int] | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    reasoning_tokens: int = 0
    unread: str = ""
    """Of the last event: what the model wrote since its last content or reasoning."""
    partial_call: bool = False
    """The reply has a call that cannot be read; its text is in `text` instead."""
    estimated: bool = False
    """The upstream did not count the tokens, or has not done so yet."""


Events = AsyncGenerator[list[Event], None]
"""Events in the groups in which they arrive. Closing it stops the work behind it."""
