"""Regular expressions (ECMA-262) of schemas: their size, and their form in a grammar.

The size is that of the automaton, with repetitions written out. For the grammar the expression is
rewritten: whole strings instead of a search, no lazy quantifiers, classes in plain characters,
and no character that JSON escapes. Where grammars lack a feature (lookaround, back references, word
boundaries, Unicode properties), the result matches more strings, never fewer.
"""

import re
from dataclasses import dataclass

MAX_DEPTH = 60
_ESCAPED_IN_JSON = frozenset({'"', "\\", *map(chr, range(0x20))})
_OTHER = r'"\\\x00-\x1f'
_ANYTHING = f"[^{_OTHER}]"
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " "}
_RANGES = {"d": [(48, 57)], "w": [(48, 57), (65, 90), (95, 95), (97, 122)], "s": [(32, 32)]}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_COUNT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_EDGE = re.compile(r"\^|\$|\\[Az]")
_STARTS = ("^", "\\A")
_GROUP = re.compile(r"\?(?::|P?<([A-Za-z_$][\w$]*)>|(<?[=!]))")
_FLAGS = re.compile(r"\?[imsu]*(?:-[imsu]+)?([:)])")
_LARGE = 10**12


class InvalidPattern(ValueError):
    """Not a regular expression of ECMA-262."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """`text` is for the grammar, None when it has no such form; `exact`: both match the same."""

    size: int
    text: str | None
    exact: bool


def read_pattern(source: str) -> Pattern:
    """Parses a regular expression. Raises InvalidPattern for one that is not valid."""
    reader = _Reader(source)
    text, size = reader.alternatives(0)
    if reader.at < len(source):
        raise InvalidPattern("has a ')' without a '('")
    return Pattern(size, text if reader.writable else None, reader.exact)


@dataclass(slots=True)
class _Reader:
    source: str
    at: int = 0
    exact: bool = True
    writable: bool = True

    def alternatives(self, depth: int) -> tuple[str, int]:
        """Reads up to the end or a ')'; at depth 0 each alternative matches a whole string."""
        if depth > MAX_DEPTH:
            raise InvalidPattern(f"has groups nested deeper than {MAX_DEPTH} levels")
        written, total = [], 0
        while True:
            text, size = self._sequence(depth)
            written.append(text)
            total += size
            if self.at >= len(self.source) or self.source[self.at] == ")":
                break
            self.at += 1
        # capped: nested repetitions make numbers with thousands of digits
        return "|".join(written), min(total + len(written) - 1, _LARGE)

    def _sequence(self, depth: int) -> tuple[str, int]:
        starts = ends = False
        written: list[str] = []
        total = 0
        while self.at < len(self.source) and self.source[self.at] not in "|)":
            if edge := _EDGE.match(self.source, self.at):
                self.at = edge.end()
                if edge[0] in _STARTS and not written:
                    starts = True
                elif edge[0] not in _STARTS and self._is_at_end():
                    ends = True
                else:
                    # in the middle an anchor only forbids strings: without it more match
                    self.exact = False
                continue
            text, size = self._repeated(depth)
            written.append(text)
            total = min(total + size, _LARGE)
        joined = "".join(written)
        if depth:
            self.exact = self.exact and not (starts or ends)
            return joined, total
        before, after = ("" if done else f"{_ANYTHING}*" for done in (starts, ends))
        return f"{before}{joined}{after}", total

    def _is_at_end(self) -> bool:
        return self.at >= len(self.source) or self.source[self.at] in "|)"

    def _repeated(self, depth: int) -> tuple[str, int]:
        text, size = self._atom(depth)
        if self.at >= len(self.source):
            return text, size
        least, most, mark = 1, 1, ""
        if (char := self.source[self.at]) in "*+?":
            least, most = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[char]
            mark, self.at = char, self.at + 1
        elif match := _COUNT.match(self.source, self.at):
            # nine digits are beyond every limit; int() of a longer text takes quadratic time
            least = int(match[1][:9])
            most = least if match[2] is None else int(match[3][:9]) if match[3] else -1
            if 0 <= most < least:
                raise InvalidPattern(f"repeats at least {least} and at most {most} times")
            mark, self.at = match[0], match.end()
        if not mark:
            return text, size
        if self.at < len(self.source) and self.source[self.at] == "?":
            self.at += 1
        # possessive quantifiers are not in ECMA-262
        elif self.at < len(self.source) and self.source[self.at] in "*+":
            raise InvalidPattern("repeats a repetition")
        return (f"{text}{mark}" if text else ""), min(size * max(1, least + 1, most), _LARGE)

    def _atom(self, depth: int) -> tuple[str, int]:
        char = self.source[self.at]
        self.at += 1
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._class()
        if char == ".":
            return _ANYTHING, 2
        if char == "\\":
            return self._escape()
        if char in "*+?":
            raise InvalidPattern(f"has a {char!r} that repeats nothing")
        return self._literal(char)

    def _group(self, depth: int) -> tuple[str, int]:
        around = False
        if self.source.startswith("?", self.at):
            match = _GROUP.match(self.source, self.at)
            if match is None:
                match = _FLAGS.match(self.source, self.at)
                # flags change how the rest matches, which a grammar cannot
                self.writable = False
                if match is not None and match[1] == ")":
                    self.at = match.end()
                    return "", 1
            if match is None:
                raise InvalidPattern("has a kind of group that ECMA-262 does not have")
            around, self.at = match.re is _GROUP and match[2] is not None, match.end()
        # what is inside lookaround never gets into the grammar
        writable = self.writable
        text, size = self.alternatives(depth + 1)
        if self.at >= len(self.source):
            raise InvalidPattern("has a '(' without a ')'")
        self.at += 1
        if around:  # lookaround consumes nothing: without it more strings match
            self.exact, self.writable = False, writable
            return "", size + 1
        return f"({text})", size

    def _literal(self, char: str) -> tuple[str, int]:
        # the engine writes such a character as an escape, which this expression does not match
        if char in _ESCAPED_IN_JSON:
            self.writable = False
        return (f"\\{char}" if char in r".*+?()[]{}|^$/\-" else char), 1

    def _escape(self) -> tuple[str, int]:
        kind = self._next()
        if kind in "dws":
            return f"[{_CLASSES[kind]}]", 1
        if kind in "DWS":
            return f"[^{_CLASSES[kind.lower()]}{_OTHER}]", 2
        if kind in "pP":
            self._property()
            return _ANYTHING, 40
        if kind in "bB":
            self.exact = False
            return "", 1
        if kind in "123456789" or (kind == "k" and self.source.startswith("<", self.at)):
            self.exact = False
            self.at = self.source.find(">", self.at) + 1 or self.at if kind == "k" else self.at
            return f"{_ANYTHING}*", 10
        return self._literal(self._character(kind))

    def _next(self) -> str:
        if self.at >= len(self.source):
            raise InvalidPattern("ends with a backslash")
        self.at += 1
        return self.source[self.at - 1]

    def _property(self) -> None:
        match = re.compile(r"\{\^?[\w=]+\}|[A-Z]").match(self.source, self.at)
        if match is None:
            raise InvalidPattern("has a '\\p' without a property")
        self.at, self.exact = match.end(), False

    def _character(self, kind: str) -> str:
        """The character that an escape stands for."""
        if kind in _CONTROLS:
            return _CONTROLS[kind]
        if kind == "c" and self.at < len(self.source):
            return chr(ord(self._next()) % 32)
        shapes = {"x": r"([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\}"}
        shapes["u"] = r"([0-9a-fA-F]{4})|\{([0-9a-fA-F]{1,6})\}"
        if kind not in shapes:
            return kind
        match = re.compile(shapes[kind]).match(self.source, self.at)
        if match is None or (code := int(match[1] or match[2], 16)) > 0x10FFFF:
            # ECMA-262, Annex B.1.2: an incomplete escape stands for its letter
            return kind
        self.at = match.end()
        if 0xD800 <= code < 0xE000:  # half of a surrogate pair
            self.writable = False
            return kind
        return chr(code)

    def _class(self) -> tuple[str, int]:
        negated = self.source.startswith("^", self.at)
        self.at += negated
        ranges: list[tuple[int, int]] = []
        wide = False
        while not self.source.startswith("]", self.at):
            first = self._member()
            if isinstance(first, str):
                wide = wide or first not in _RANGES
                ranges += _RANGES.get(first, [])
                continue
            last: int | str = first
            # at the end of a class a hyphen is itself
            if self.source.startswith("-", self.at) and not self.source.startswith("-]", self.at):
                self.at += 1
                last = self._member()
            if isinstance(last, str) or last < first:
                raise InvalidPattern("has a range in a class that is out of order")
            ranges.append((first, last))
        self.at += 1
        if wide:  # wider still: all that a string can hold
            self.exact = False
            return _ANYTHING, 40
        return self._write_class(ranges, negated)

    def _member(self) -> int | str:
        """The next character of a class, or the letter of the class that it names."""
        if self.at >= len(self.source):
            raise InvalidPattern("has a '[' without a ']'")
        char = self.source[self.at]
        self.at += 1
        if char != "\\":
            return ord(char)
        kind = self._next()
        if kind in "dwsDWS":
            return kind
        if kind in "pP":
            self._property()
            return kind
        # `\b` in a class is a backspace
        return 8 if kind == "b" else ord(self._character(kind))

    def _write_class(self, ranges: list[tuple[int, int]], negated: bool) -> tuple[str, int]:
        if negated:
            return f"[^{''.join(map(_write_range, ranges))}{_OTHER}]", 2
        unescaped = [part for one in ranges for part in _unescaped(one)]
        if not unescaped:
            self.writable = False
        return f"[{''.join(map(_write_range, unescaped))}]", 1


def _unescaped(given: tuple[int, int]) -> list[tuple[int, int]]:
    """A range without the characters that JSON escapes."""
    edges = [0x1F, 0x22, 0x5C, given[1] + 1]
    ranges, low = [], max(given[0], 0x20)
    for edge in edges[1:]:
        high = min(edge - 1, given[1])
        if low <= high:
            ranges.append((low, high))
        low = max(low, edge + 1)
    return ranges


def _write_range(given: tuple[int, int]) -> str:
    low, high = map(_write_member, given)
    return low if low == high else f"{low}-{high}"


def _write_member(code: int) -> str:
    if code < 0x20:
        return f"\\x{code:02x}"
    return f"\\{chr(code)}" if chr(code) in r"\]^-[" else chr(code)
