"""Checks the token counts of an upstream for plausibility. Pure.

Users are charged by these counts, so a broken server must not set them freely: an implausible count
is replaced by this gateway's estimate, and marked as one. An answer that continues far beyond the
requested length is ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.domain.events import Event
from frontend.domain.generation import Generation
from frontend.domain.models import Model
from frontend.errors import BackendFailed
from frontend.generation import sizes

_MOST = 2**24
"""Tokens, where neither the request nor the model has a limit."""
_HIDDEN = 2**16
"""Tokens that a server's own template may add to a prompt."""
_PIECES = 64
"""An answer ends when it has twice as many pieces as it may have tokens, and so many more: a server
may send a token in more than one piece."""


def is_true(count: Any, most: int = _MOST) -> bool:
    """Whether a server can have counted this."""
    return type(count) is int and 0 <= count <= most


def is_count_of(count: Any, texts: Iterable[str], context: int | None, ids: int = 0) -> bool:
    """Whether a server can have counted this for texts and token ids; 0 is not a count."""
    each = [sizes.size_of([text]) if context is None else context for text in texts]
    return bool(count) and is_true(count, sum(each) + ids + _HIDDEN)


@dataclass(slots=True)
class Counts:
    """Checks the events of one answer, in order."""

    model: Model
    generation: Generation
    _most: int = field(init=False)
    """Tokens of all completions together."""
    _most_prompt: int = field(init=False)
    _prompt: int = 0
    _pieces: dict[int, int] = field(default_factory=dict)
    """Events with text of each completion."""
    _last: dict[int, Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sampling, context = self.generation.sampling, self.model.context_length
        limits = [one for one in (sampling.max_tokens, context) if one]
        self._most = sampling.choices * min(limits) if limits else _MOST
        self._most_prompt = context or sizes.bytes_of(self.generation) + _HIDDEN

    def check(self, event: Event) -> None:
        """Corrects the counts of an event. Raises BackendFailed for one that is not an event."""
        if not _is_event(event):
            raise BackendFailed("the model server sent an answer that cannot be read")
        index, last = event.index, self._last
        if event.text:
            self._pieces[index] = self._pieces.get(index, 0) + 1
        if not event.prompt_tokens or not is_true(event.prompt_tokens, self._most_prompt):
            # upstreams may count at the end, or never; clients may leave earlier
            self._prompt = self._prompt or sizes.estimate(self.generation)
            event.prompt_tokens, event.estimated = self._prompt, True
        if not is_true(event.cached_tokens, event.prompt_tokens):
            event.cached_tokens = 0
        last.pop(index, None)
        most = max(self._most - sum([one.completion_tokens for one in last.values()]), 0)
        pieces = self._pieces.get(index, 0)
        if not is_true(event.completion_tokens, most) or (pieces and not event.completion_tokens):
            event.completion_tokens, event.estimated = min(pieces, most), True
        if not is_true(event.reasoning_tokens, event.completion_tokens):
            event.reasoning_tokens = 0
        last[index] = event

    @property
    def is_over(self) -> bool:
        """Whether the answer has gone on far beyond what was asked for."""
        sampling = self.generation.sampling
        if sampling.max_tokens is None:
            return False
        return sum(self._pieces.values()) > 2 * sampling.max_tokens * sampling.choices + _PIECES

    def ends(self) -> list[Event]:
        """The ends of all completions that have not ended, of an answer that is over."""
        return [
            replace(
                one, text="", token_ids=[], logprobs=None, reasoning=None, tool_calls=None,
                finish_reason="length", unread="",
            )
            for one in self._last.values()
            if one.finish_reason is None
        ]  # fmt: skip


def _is_event(event: Event) -> bool:
    return (
        isinstance(event.text, str)
        and is_true(event.index)
        and (event.finish_reason is None or isinstance(event.finish_reason, str))
        and (event.reasoning is None or isinstance(event.reasoning, str))
        and all(map(_is_call, event.tool_calls or ()))
    )


def _is_call(call: dict[str, Any]) -> bool:
    texts = (call.get("id", ""), call.get("name", ""), call.get("arguments", ""))
    return is_true(call.get("index", 0)) and all(isinstance(one, str) for one in texts)
