"""What a reader makes of one completion, delta by delta: text, reasoning, calls. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol


class End(Enum):
    """Whether a completion goes on, was cut by a limit or a stop string, or ended by itself."""

    NOT_YET = auto()
    CUT = auto()
    NATURAL = auto()


@dataclass(slots=True)
class Piece:
    """What a delta turned out to be. A tool call is `{"index", "id"?, "name"?, "arguments"}`."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)


class Reader(Protocol):
    """Reads one completion. `unread` is what was told as a call, or not at all, since the last
    content or reasoning."""

    @property
    def unread(self) -> str: ...
    def read(self, text: str, token_ids: Sequence[int], *, end: End) -> Piece: ...
    def finish_reason(self, reason: str | None) -> str | None: ...
    def reasoning_tokens(self) -> int: ...


class WithoutBlanks:
    """A reader of replies that may call, without the blanks around calls.

    Templates put line feeds before a call and between calls; they are no content. What is blank is
    told with the first word behind it, and when no call has come instead.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._blank = ""
        self._said = False
        self._called = False

    @property
    def unread(self) -> str:
        return self._reader.unread

    def read(self, text: str, token_ids: Sequence[int], *, end: End) -> Piece:
        piece = self._reader.read(text, token_ids, end=end)
        if not self._said:
            self._blank, piece.text = self._blank + piece.text, ""
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
