"""Rewrites grammars so that they need only characters in the model's vocabulary.

Some vocabularies lack bytes: SmolLM2's has no token with 0xF1, so no reply can contain U+40000, and
a grammar that requires such a character leaves the engine without any allowed token. In JSON the
character becomes an escape sequence (RFC 8259, section 7); elsewhere the alternatives that need it
are removed. Works on xgrammar's serialized grammar, before it is compiled. Pure.
"""

import functools
import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

_BYTES, _CLASS, _CLASS_STAR, _EMPTY, _RULE, _SEQUENCE, _CHOICES, _TAGS, _REPEAT = range(9)
"""xgrammar's kinds of expressions, the first number of each."""
_MOST_ESCAPES = 16
"""Characters of one class that are offered as escapes when none can be written as it is."""
_LAST = 0x10FFFF


class Alphabet:
    """The characters that a vocabulary can write; `words` are its tokens without special ones."""

    def __init__(self, words: Iterable[bytes]) -> None:
        words = tuple(words)
        self._bytes = {word[0] for word in words if len(word) == 1}
        whole = {word.decode(errors="ignore") for word in words if not word.isascii()}
        self._characters = set("".join(whole))
        self._characters |= {chr(one) for word in words if word.isascii() for one in word}

    @functools.cached_property
    def is_complete(self) -> bool:
        """Whether every byte that UTF-8 uses is a token."""
        # UTF-8 never has 0xC0, 0xC1 and 0xF5 to 0xFF (RFC 3629, section 1)
        return self._bytes >= {*range(0xC0), *range(0xC2, 0xF5)}

    def can_write(self, character: str) -> bool:
        """A lone surrogate stands for a byte, as `surrogateescape` decodes it."""
        return character in self._characters or self._bytes.issuperset(
            character.encode(errors="surrogateescape")
        )


def fit(grammar: str, alphabet: Alphabet, *, is_json: bool) -> str:
    """The serialized grammar without characters that cannot be written.

    `is_json`: such characters occur only in JSON strings. Raises ValueError when nothing remains.
    """
    if alphabet.is_complete:
        return grammar
    return _Fitting(json.loads(grammar), alphabet, is_json).run() or grammar


def holds_only_json(tag: Any, alphabet: Alphabet) -> bool:
    """Whether all that cannot be written in a structural tag is in schemas of JSON values."""
    waiting = [tag]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and not all(map(alphabet.can_write, one)):
            return False
        if isinstance(one, dict):
            if one.get("style", "json") != "json" or str(one.get("type")).endswith("_parameter"):
                return False
            waiting += [v for k, v in one.items() if k not in ("json_schema", "schema")]
        elif isinstance(one, list):
            waiting += one
    return True


class _Fitting:
    """One grammar's expressions, changed in place: rules and expressions keep their numbers."""

    def __init__(self, grammar: dict[str, Any], alphabet: Alphabet, is_json: bool) -> None:
        self._grammar = grammar
        self._rules = grammar["rules"]
        ends = [*grammar["grammar_expr_indptr"], len(grammar["grammar_expr_data"])]
        self._expressions: list[list[int]] = [
            grammar["grammar_expr_data"][start:end] for start, end in pairwise(ends)
        ]
        self._alphabet = alphabet
        self._is_json = is_json
        self._changed = False
        self._dead: set[int] = set()
        """Expressions that match nothing that can be written."""
        self._dead_rules: set[int] = set()

    def run(self) -> str | None:
        """None when nothing had to change."""
        for number in range(len(self._expressions)):
            self._fit(number)
        if self._dead:
            self._spread()
            self._prune()
        if not self._changed:
            return None
        data: list[int] = []
        starts = []
        for expression in self._expressions:
            starts.append(len(data))
            data += expression
        self._grammar |= {"grammar_expr_data": data, "grammar_expr_indptr": starts}
        return json.dumps(self._grammar)

    def _fit(self, number: int) -> None:
        kind, _, *values = self._expressions[number]
        if kind == _BYTES:
            text = bytes(value & 0xFF for value in values).decode(errors="surrogateescape")
            if all(map(self._alphabet.can_write, text)):
                return
            # a part of a character has no escape of its own: xgrammar splits ranges into bytes
            if self._is_json and not any("\ud800" <= one <= "\udfff" for one in text):
                self._set(number, _BYTES, self._escaped(text))
            else:
                self._dead.add(number)
        elif kind in (_CLASS, _CLASS_STAR):
            members = _members(values)
            if any(map(self._alphabet.can_write, members)):
                return
            # a repeated class may occur no times, so it is dead and left out instead
            if self._is_json and kind == _CLASS:
                self._set(number, _RULE, [self._add_escapes(_members(values))])
            else:
                self._dead.add(number)

    def _escaped(self, text: str) -> bytes:
        return "".join(
            one if self._alphabet.can_write(one) else json.dumps(one)[1:-1] for one in text
        ).encode()

    def _add_escapes(self, characters: Iterator[str]) -> int:
        """A new rule for the first of some characters, each as an escape."""
        choices = []
        for character, _ in zip(characters, range(_MOST_ESCAPES), strict=False):
            escaped = self._append(_BYTES, json.dumps(character)[1:-1].encode())
            choices.append(self._append(_SEQUENCE, [escaped]))
        body = self._append(_CHOICES, choices)
        name = f"escaped_characters_{len(self._rules)}"
        self._rules.append([name, body, *self._rules[0][2:]])
        self._rules[-1][2] = -1  # nothing is known of what follows
        return len(self._rules) - 1

    def _append(self, kind: int, values: Iterable[int]) -> int:
        self._expressions.append([])
        self._set(len(self._expressions) - 1, kind, values)
        return len(self._expressions) - 1

    def _set(self, number: int, kind: int, values: Iterable[int]) -> None:
        values = list(values)
        self._expressions[number] = [kind, len(values), *values]
        self._changed = True

    def _spread(self) -> None:
        """Finds all that is dead because its parts are."""
        grown = True
        # rules refer to each other in cycles, so one pass is not enough
        while grown:
            before = len(self._dead) + len(self._dead_rules)
            for number, expression in enumerate(self._expressions):
                if self._is_dead(expression):
                    self._dead.add(number)
            for number, rule in enumerate(self._rules):
                if rule[1] in self._dead:
                    self._dead_rules.add(number)
            grown = len(self._dead) + len(self._dead_rules) > before
        if self._grammar["root_rule_id"] in self._dead_rules:
            raise ValueError("the model's vocabulary has no tokens for its characters")

    def _is_dead(self, expression: list[int]) -> bool:
        kind, _, *values = expression
        if kind == _SEQUENCE:
            return any(one in self._dead and not self._may_vanish(one) for one in values)
        if kind == _CHOICES:
            return all(one in self._dead for one in values)
        if kind == _RULE:
            return values[0] in self._dead_rules
        return kind == _REPEAT and values[0] in self._dead_rules

    def _may_vanish(self, number: int) -> bool:
        """Whether a dead part may be left out: it may occur no times at all."""
        kind, _, *values = self._expressions[number]
        return kind == _CLASS_STAR or (kind == _REPEAT and values[1] == 0)

    def _prune(self) -> None:
        for number, (kind, _, *values) in enumerate(self._expressions):
            if number in self._dead or kind not in (_SEQUENCE, _CHOICES):
                continue
            kept = [one for one in values if one not in self._dead]
            if len(kept) < len(values):
                self._set(number, kind if kept else _EMPTY, kept)


def _members(values: Iterable[int]) -> Iterator[str]:
    """The characters of a class: whether it is negated, then its ranges."""
    negated, *bounds = values
    ranges = sorted(zip(bounds[::2], bounds[1::2], strict=True))
    for low, high in _complement(ranges) if negated else ranges:
        for number in range(low, high + 1):
            # surrogates are not characters, and UTF-8 cannot encode them
            if not 0xD800 <= number <= 0xDFFF:
                yield chr(number)


def _complement(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start = 0
    for low, high in ranges:
        if start < low:
            yield start, low - 1
        start = max(start, high + 1)
    if start <= _LAST:
        yield start, _LAST


def words_of(info: Any) -> list[bytes]:
    """The tokens of xgrammar's TokenizerInfo that a grammar may use."""
    special = set(info.special_token_ids) | set(info.stop_token_ids)
    return [word for number, word in enumerate(info.decoded_vocab) if number not in special]
