"""Formats whose tool calls are parsed at the end of a reply, from its whole text.

For these formats vLLM's streaming parsers lose calls and text when an engine step yields several
tokens, or never report a call (tests/golden/calls); its parsers for complete texts are correct. So
text is streamed up to the first call marker, and the rest is parsed at the end. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from python_backends.vllm_engine.delta import Delta, End, Reader


@dataclass(frozen=True, slots=True)
class Marks:
    """How a call starts: `anywhere` in a text, or only as its `first` characters."""

    anywhere: tuple[str, ...] = ()
    first: tuple[str, ...] = ()


_DEEPSEEK = Marks(("<｜tool▁calls▁begin｜>",))
_LLAMA = Marks(("<|python_tag|>",), ("{",))
MARKS = {
    "deepseek_v3": _DEEPSEEK,
    "deepseek_v31": _DEEPSEEK,
    "llama3_json": _LLAMA,
    "llama4_json": _LLAMA,
    "mistral": Marks(("[TOOL_CALLS]",)),
    "phi4_mini_json": Marks(("functools[",)),
}
"""By the name of the parser."""


class DeferredText:
    """The text of one reply, split into the part before the first call and the deferred rest."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._told = 0
        self.has_call = False
        self.text = ""
        """All of it so far."""

    def take(self, text: str) -> str:
        """Adds text; returns what can be streamed now."""
        self.text += text
        if self.has_call:
            return ""
        start = self._told
        self._told = max(start, self._end_of_content(start))
        return self.text[start : self._told]

    @property
    def rest(self) -> str:
        """The deferred text."""
        return self.text[self._told :]

    def release(self) -> str:
        """The deferred text, after it turned out to contain no call."""
        rest, self._told = self.rest, len(self.text)
        return rest

    def _end_of_content(self, start: int) -> int:
        bare = self.text.lstrip()
        # nothing but whitespace so far may still become a call: it is held back
        if self._marks.first and (not bare or bare.startswith(self._marks.first)):
            self.has_call = bool(bare)
            return start
        places = [self.text.find(mark, start) for mark in self._marks.anywhere]
        if starts := [place for place in places if place >= 0]:
            self.has_call = True
            return min(starts)
        # a mark may be cut between two deltas, so what could be its beginning waits
        return len(self.text) - max(_overlap(self.text, mark) for mark in self._marks.anywhere)


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of a text may be the beginning of a mark."""
    return next((size for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), 0)


class DeferredReader:
    """A reader for replies with deferred calls, on top of a `reader` that does not parse calls.

    `calls_of` finds the calls of a whole text, None where there are none; `named`: the request
    named the function.
    """

    def __init__(
        self,
        reader: Reader,
        text: DeferredText,
        calls_of: Callable[[str], list[dict[str, Any]] | None],
        *,
        named: bool,
    ) -> None:
        self._reader = reader
        self._text = text
        self._calls_of = calls_of
        self._named = named
        self._called = False
        self.unread = ""

    def read(self, text: str, token_ids: Sequence[int], *, end: End) -> Delta:
        piece = self._reader.read(text, token_ids, end=end)
        piece.text = self._text.take(piece.text)
        # a reply that was cut has no whole call, and its beginning is not content either
        if end is End.NATURAL and self._text.has_call:
            piece.tool_calls = self._calls_of(self._text.text) or []
            self._called = bool(piece.tool_calls)
        if (
            end is not End.NOT_YET
            and not self._called
            and not (end is End.CUT and self._text.has_call)
        ):
            piece.text += self._text.release()
        self.unread = "" if self._called else self._text.rest
        return piece

    def finish_reason(self, reason: str | None) -> str | None:
        return "tool_calls" if self._called and reason == "stop" and not self._named else reason

    def reasoning_tokens(self) -> int:
        return self._reader.reasoning_tokens()
