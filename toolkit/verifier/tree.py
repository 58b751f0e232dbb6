"""A config's text as a tree of fields with their positions.

The tree follows the grammar only; `values` and the rules compare it with the protobuf descriptor.
Children are in the order of the text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from toolkit.verifier.tokens import TextError, Token, tokenize

_CLOSING = {"{": "}", "<": ">"}
_OPENING = {":", "[", *_CLOSING}
"""Characters that can follow a field's name but not a value."""


@dataclass(slots=True)
class Entry:
    """One field: `name: value` or `name { … }`. A list gives one entry for each element.

    `token` is the name (an element of a list has the element's own), `value` the text of a scalar
    as written, `closing` the end of a message.
    """

    name: str
    token: Token
    value: list[Token] = field(default_factory=list)
    children: list["Entry"] | None = None
    element: Token | None = None
    closing: Token | None = None

    def named(self, name: str) -> list["Entry"]:
        """The children of that name."""
        return [child for child in self.children or [] if child.name == name]

    def walk(self) -> Iterator["Entry"]:
        """This entry and all below it."""
        yield self
        for child in self.children or []:
            yield from child.walk()

    def text(self) -> str:
        """A scalar's value without its quotes."""
        return "".join(t.text[1:-1] if t.kind == "string" else t.text for t in self.value)


def parse(text: str) -> Entry:
    """The whole text as the children of one nameless entry. Raises TextError at the first syntax
    error."""
    return _Parser(list(tokenize(text))).document()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def document(self) -> Entry:
        root = Entry("", self._tokens[0], children=[])
        while self._peek.kind != "end":
            self._field(root)
        return root

    @property
    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self, *signs: str) -> Token | None:
        """The next token if it is one of these signs."""
        if self._peek.kind == "sign" and self._peek.text in signs:
            self._next += 1
            return self._tokens[self._next - 1]
        return None

    def _field(self, parent: Entry) -> None:
        token = self._name()
        colon = self._take(":")
        if opening := self._take("["):
            self._list(parent, token, opening)
        else:
            self._value(parent, token, None, colon is not None)
        # the specification allows either between fields
        self._take(",", ";")

    def _name(self) -> Token:
        token = self._peek
        if token.kind != "word":
            shown = f"'{token.text}'" if token.text else "the end of the file"
            raise TextError(f"expected the name of a field, not {shown}", token)
        self._next += 1
        return token

    def _list(self, parent: Entry, name: Token, opening: Token) -> None:
        while not self._take("]"):
            if self._peek.kind == "end":
                raise TextError("this list is not closed", opening)
            self._value(parent, name, self._peek, True)
            if not self._take(",") and not (self._peek.text == "]"):
                raise TextError("expected ',' or ']'", self._peek)
            if self._peek.text == "]" and self._tokens[self._next - 1].text == ",":
                raise TextError("a list may not end with a comma", self._tokens[self._next - 1])

    def _value(self, parent: Entry, name: Token, element: Token | None, scalar: bool) -> None:
        entry = Entry(name.text, name, element=element)
        assert parent.children is not None
        parent.children.append(entry)
        if opening := self._take("{", "<"):
            entry.children = []
            while not (closing := self._take(_CLOSING[opening.text])):
                if self._peek.kind == "end":
                    raise TextError(f"this '{opening.text}' is not closed", opening)
                self._field(entry)
            entry.closing = closing
        elif not scalar:
            raise TextError(f"':' or '{{' was expected after '{name.text}'", self._peek)
        else:
            self._scalar(entry)

    def _scalar(self, entry: Entry) -> None:
        if minus := self._take("-"):
            entry.value.append(minus)
        first = self._peek
        # `name:` without a value takes the next field's name for it
        if first.kind == "word" and self._tokens[self._next + 1].text in _OPENING:
            raise TextError(f"the value of '{entry.name}' is missing", entry.token)
        if first.kind not in {"string", "number", "word"}:
            shown = f"'{first.text}'" if first.text else "the end of the file"
            raise TextError(f"expected the value of '{entry.name}', not {shown}", first)
        # strings that follow one another are one value, as in C
        while self._peek.kind == first.kind == "string" or self._peek is first:
            entry.value.append(self._peek)
            self._next += 1
