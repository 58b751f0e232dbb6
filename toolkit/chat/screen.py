"""Writes a chat's output: answers to stdout, everything else to where people see it.

On a terminal reasoning and remarks are dim; elsewhere stdout gets only the answer.
"""

import sys
from dataclasses import dataclass, field
from typing import Any, TextIO

from toolkit.chat.client import Piece

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_SECRET = dict.fromkeys(range(32)) | {0x7F: None, 0x9B: None}
"""Control characters that an answer must not send to a terminal; it keeps tabs and line ends."""
for _kept in ("\t", "\n"):
    del _SECRET[ord(_kept)]


@dataclass(slots=True)
class Screen:
    """`color`: whether escape sequences may be written; `terminal`: whether a person reads."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    color: bool = False
    terminal: bool = False
    _thinks: bool = field(default=False, init=False)
    _wrote: bool = field(default=False, init=False)

    def piece(self, piece: Piece) -> None:
        """Writes a part of an answer."""
        if piece.reasoning and self.terminal:
            if not self._thinks:
                self.remark("Thinking …")
            self._thinks = True
            self._write(self._dim(self._clean(piece.reasoning)))
        if piece.text:
            self._end_thought()
            self._write(self._clean(piece.text))
            self._wrote = True

    def end(self) -> None:
        """Ends an answer."""
        self._end_thought()
        if self._wrote:
            self._write("\n")
        self._wrote = False

    def remark(self, text: str) -> None:
        """Writes a line about the answer, for people only."""
        if self.terminal:
            self._write(self._dim(self._clean(text)) + "\n")

    def line(self, text: str) -> None:
        """Writes a line of a result."""
        self._write(self._clean(text) + "\n")

    def call(self, call: dict[str, Any]) -> None:
        """Writes a tool call of the model."""
        function = call["function"]
        text = f"{function['name']}({function['arguments']})"
        self._write(self._clean(f"→ {text}" if self.terminal else text) + "\n")

    def _end_thought(self) -> None:
        if self._thinks:
            self._thinks = False
            self._write("\n")
            self.remark("… done thinking.\n")

    def _dim(self, text: str) -> str:
        return f"{_DIM}{text}{_PLAIN}" if self.color else text

    def _clean(self, text: str) -> str:
        return text.translate(_SECRET) if self.terminal else text

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()
