"""Splits protobuf text format into tokens that remember where they stood.

It follows the text format language specification (protobuf.dev/reference/protobuf/textformat-spec)
and knows nothing of fields.
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
    """The text is not text format; `token` is where that shows."""

    def __init__(self, message: str, token: Token) -> None:
        super().__init__(message)
        self.message = message
        self.token = token


def tokenize(text: str) -> Iterator[Token]:
    """Yields the tokens and a last one of kind `end`. Raises TextError."""
    line, start = 1, 0
    for match in _TOKEN.finditer(text):
        kind, found = str(match.lastgroup), match.group()
        token = Token(kind, found, line, match.start() - start + 1)
        if kind == "bad":
            raise TextError(_complaint(found), token)
        if kind != "space":
            yield token
        if newlines := found.count("\n"):
            line += newlines
            start = match.start() + found.rindex("\n") + 1
    yield Token("end", "", line, len(text) - start + 1)


def _complaint(character: str) -> str:
    if character in "\"'":
        return "this string is not closed on its line"
    if character == "\ufeff":
        return "the file begins with a byte order mark"
    return f"the character {character!r} means nothing here"
