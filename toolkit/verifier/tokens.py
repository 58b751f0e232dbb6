"""Splits protobuf text format into tokens with their positions.

It follows the text format language specification (protobuf.dev/reference/protobuf/textformat-spec).
It does not know which fields exist.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f\v]+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>(?:0[xX][0-9a-fA-F]+|\.?[0-9](?:[0-9.]|[eE][+-]?[0-9])*[fF]?)(?![A-Za-z_]))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>[{}<>\[\]:,;/.-])
      | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is string, number, word, sign or end; `line` and `column` count from 1."""

    kind: str
    text: str
    line: int
    column: int


class TextError(ValueError):
    """The text is not valid text format; `token` is the position of the error."""

    def __init__(self, message: str, token: Token) -> None:
        super().__init__(message)
        self.message = message
        self.token = token


def tokenize(text: str) -> Iterator[Token]:
    """Yields the tokens, the last one of kind `end`. Raises TextError at the first character that
    starts no token."""
    line, start = 1, 0
    for match in _TOKEN.finditer(text):
        kind, piece = str(match.lastgroup), match.group()
        token = Token(kind, piece, line, match.start() - start + 1)
        if kind == "bad":
            raise TextError(_message(piece), token)
        if kind != "space":
            yield token
        if newlines := piece.count("\n"):
            line += newlines
            start = match.start() + piece.rindex("\n") + 1
    yield Token("end", "", line, len(text) - start + 1)


def _message(character: str) -> str:
    if character in "\"'":
        return "this string is not closed on its line"
    if character == "\ufeff":
        return "the file begins with a byte order mark"
    return f"unexpected character {character!r}"
