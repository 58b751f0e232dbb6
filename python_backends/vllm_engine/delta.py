"""The parsed parts of one completion, delta by delta: text, reasoning, tool calls. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol


class End(Enum):
    """Whether a completion has ended: not yet, at a limit or stop string, or at its end token."""

    NOT_YET = auto()
    CUT = auto()
    NATURAL = auto()


@dataclass(slots=True)
class Delta:
    """A parsed delta. A tool call is `{"index", "id"?, "name"?, "arguments"}`."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)


class Reader(Protocol):
    """Parses one completion. `unread` is the text since the last content or reasoning, which was
    returned as a call or not at all."""

    @property
    def unread(self) -> str: ...
    def read(self, text: str, token_ids: Sequence[int], *, end: End) -> Delta: ...
    def finish_reason(self, reason: str | None) -> str | None: ...
    def reasoning_tokens(self) -> int: ...


class TrimmedReader:
    """Removes the whitespace around tool calls from a reader's text.

    Templates put line feeds before and between calls, which are not content. Whitespace is returned
    with the first word that follows, or at the end if there was no call.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._blank = ""
        self._said = False
        self._called = False

    @property
    def unread(self) -> str:
        return self._reader.unread

    def read(self, text: str, token_ids: Sequence[int], *, end: End) -> Delta:
        piece = self._reader.read(text, token_ids, end=end)
        if not self._said:
            self._blank, piece.text = self._blank + piece.text, ""
            # after a call the whitespace at the end belongs to the format
            if self._blank.strip() or (end is not End.NOT_YET and not self._called):
                self._blank, piece.text, self._said = "", self._blank, True
        if piece.tool_calls:
            self._called, self._said = True, False
            self._blank = ""
        return piece

    def finish_reason(self, reason: str | None) -> str | None:
        return self._reader.finish_reason(reason)

    def reasoning_tokens(self) -> int:
        return self._reader.reasoning_tokens()
