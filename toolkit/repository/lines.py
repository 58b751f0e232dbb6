"""In which line of a pbtxt file does a field stand? Protobuf's parser forgets; this remembers.

Walks the text's tokens only: it knows no schema, and takes any text that protobuf's parser takes.
"""

import re
from collections import Counter
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>[\s,;]+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<mark>[{}<>\[\]:])
      | (?P<word>[^\s{}<>\[\]:,;#"']+)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"{": "}", "<": ">", "[": "]"}

FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


class Lines:
    """`find("input", 1, "dims")` is the line of the second input's dims; indices count from 0."""

    def __init__(self, text: str) -> None:
        self._found: dict[FieldPath, int] = {}
        self._tokens = _tokenize(text)
        self._next = 0
        self._message((), "")

    def find(self, *path: str | int) -> int:
        """The line of `path`, or of its nearest parent that is written down, or 1."""
        whole = _indexed(path)
        while whole and whole not in self._found:
            whole = whole[:-2]
        return self._found.get(whole, 1)

    def _message(self, path: FieldPath, end: str) -> None:
        """Reads fields until `end` or the text's own end."""
        counts: Counter[str] = Counter()
        while (token := self._take()) is not None and token.text != end:
            if token.kind != "word":
                continue
            here = (*path, token.text)
            self._found[(*here, counts[token.text])] = token.line
            self._value(here, counts)

    def _value(self, name: FieldPath, counts: Counter[str]) -> None:
        """Reads what follows a field's name, which may be a list of values."""
        key = str(name[-1])
        token = self._take()
        if token is not None and token.text == ":":
            token = self._take()
        if token is None:
            return
        if token.text == "[":
            self._list(name, counts)
            return
        index = counts[key]
        counts[key] += 1
        if token.text in _CLOSING:
            self._message((*name, index), _CLOSING[token.text])
        elif token.kind == "string":
            while self._next < len(self._tokens) and self._tokens[self._next].kind == "string":
                self._next += 1

    def _list(self, name: FieldPath, counts: Counter[str]) -> None:
        key = str(name[-1])
        while (token := self._take()) is not None and token.text != "]":
            self._found[(*name, counts[key])] = token.line
            counts[key] += 1
            if token.text in _CLOSING:
                self._message((*name, counts[key] - 1), _CLOSING[token.text])

    def _take(self) -> _Token | None:
        if self._next >= len(self._tokens):
            return None
        self._next += 1
        return self._tokens[self._next - 1]


def _tokenize(text: str) -> list[_Token]:
    tokens, line = [], 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match.group(), line))
        line += match.group().count("\n")
    return tokens


def _indexed(path: FieldPath) -> FieldPath:
    """Names and indices in turn; a name without an index means its first."""
    result: list[str | int] = []
    for part in path:
        if isinstance(part, str) and result and isinstance(result[-1], str):
            result.append(0)
        result.append(part)
    if result and isinstance(result[-1], str):
        result.append(0)
    return tuple(result)
