"""Finds the place of a field from its path, such as `input[0].dims` or `step[1].input_map["x"]`.

If the config does not contain the field, the place is the nearest message around it that it does
contain.
"""

import re

from toolkit.finding import Place
from toolkit.verifier.tokens import Token
from toolkit.verifier.tree import Entry

_PART = re.compile(r'([A-Za-z_]\w*)(?:\[(\d+)\]|\["([^"]*)"\])?')


def find_entry(root: Entry, path: str) -> tuple[Entry, bool]:
    """The entry at `path`, or the nearest one around it; and whether it is `path` itself."""
    entry = root
    for name, index, key in _PART.findall(path):
        entries = entry.named(name)
        if key:
            entries = [each for each in entries if any(k.text() == key for k in each.named("key"))]
            entries = entries[-1:]  # protobuf keeps the last of two entries with the same key
        position = int(index) if index else 0
        if position >= len(entries):
            return entry, False
        entry = entries[position]
    return entry, True


def place_of(file: str, lines: list[str], token: Token, length: int = 0) -> Place:
    """The place of a token, with the text of its line; `length` unless it is the token's own."""
    text = lines[token.line - 1] if token.line <= len(lines) else ""
    return Place(file, token.line, token.column, length or max(1, len(token.text)), text)


def place_of_entry(file: str, lines: list[str], entry: Entry, *, value: bool = True) -> Place:
    """The place of an entry: of its value where it is a scalar, else of its name."""
    if not entry.name:
        return Place(file)
    tokens = entry.value if value and entry.value else [entry.element or entry.token]
    first, last = tokens[0], tokens[-1]
    # strings that follow one another may be on several lines
    same = first.line == last.line
    length = last.column + len(last.text) - first.column if same else len(first.text)
    return place_of(file, lines, first, length)
