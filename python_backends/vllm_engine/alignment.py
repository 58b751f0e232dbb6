"""Selects the tokens of a completion that make up its content, for its log probabilities.

An engine also returns tokens that are not in the text: the end token, stop strings, special tokens,
and those of reasoning and tool calls. Pure.
"""

from collections.abc import Callable
from typing import Any

Token = dict[str, Any]


class LogprobAligner:
    """Takes the tokens of one completion and its content; returns the tokens that match the
    content.

    `is_added` knows the ids that may be skipped in text. `reads`: parts of the answer are
    reported apart from its content, so tokens that do not fit belong to those.
    """

    def __init__(self, is_added: Callable[[int], bool], *, reads: bool) -> None:
        self._is_added = is_added
        self._reads = reads
        self._tokens: list[Token] = []
        self._text = b""
        self._begun = False

    def take(
        self, tokens: list[Token], text: str, *, apart: bool, ended: str | None, stopped: bool
    ) -> list[Token]:
        """`apart`: some of the tokens became reasoning or calls. `ended` is the finish reason, and
        `stopped` means that a stop string cut the text."""
        self._tokens += tokens
        # bytes, not characters: a token may hold a part of a character
        self._text += text.encode(errors="replace")
        if apart:
            self._keep_end_only()
        spelled = self._spell()
        # only now is it known that the rest of the text does not come with another delta
        if ended is not None:
            spelled += self._rest(cut=ended != "stop" and not stopped)
        return spelled

    def _keep_end_only(self) -> None:
        """Content comes after what is reported apart; if there is none, it has no tokens."""
        for start in range(len(self._tokens), -1, -1):
            if b"".join(map(_bytes, self._tokens[start:])) == self._text:
                self._tokens = self._tokens[start:]
                return

    def _spell(self) -> list[Token]:
        pieces = []
        while self._tokens and self._text:
            token = self._tokens[0]
            spelled = _bytes(token)
            if not self._text.startswith(spelled):
                if spelled.startswith(self._text):
                    break  # the rest of it has not been reported yet
                token, spelled = self._fitted(token, spelled)
            del self._tokens[0]
            self._text = self._text[len(spelled) :]
            if token:
                pieces.append(token)
                self._begun = True
        return pieces

    def _fitted(self, token: Token, spelled: bytes) -> tuple[Token, bytes]:
        """A token that the text does not continue with: without the blanks that a text may lose at
        its beginning, or none, or unchanged if its bytes are not text."""
        bare = spelled.lstrip()
        if not self._begun and bare and self._text.startswith(bare):
            return _cut(token, bare), bare
        if self._reads or self._is_added(token["id"]):
            return {}, b""
        return token, self._text[: len(spelled)]

    def _rest(self, *, cut: bool) -> list[Token]:
        """What is left at the end: the bytes of half a character where a limit `cut` the answer,
        else the part of a token before a stop string; never what ended the answer."""
        tokens, text = self._tokens, self._text
        self._tokens, self._text = [], b""
        if cut and not self._reads:
            return [token for token in tokens if not self._is_added(token["id"])]
        if tokens and text and _bytes(tokens[0]).startswith(text):
            return [_cut(tokens[0], text)]
        return []


def _bytes(token: Token) -> bytes:
    return bytes(token["bytes"])


def _cut(token: Token, spelled: bytes) -> Token:
    return {**token, "token": spelled.decode(errors="replace"), "bytes": list(spelled)}
