"""Regular expressions: weighed, and rewritten as whole strings without what JSON escapes."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.schemas.patterns import InvalidPattern, read_pattern
from tests.support.schema_grammars import fits, grammar, plan, refusal

ANY = r'[^"\\\x00-\x1f]'


@pytest.mark.parametrize(
    ("source", "text", "exact"),
    [
        ("^[a-c]{2,4}$", "[a-c]{2,4}", True),
        ("^a", f"a{ANY}*", True),
        ("a$", f"{ANY}*a", True),
        ("^a|b$", f"a{ANY}*|{ANY}*b", True),
        (r"^\d+?$", "[0-9]+", True),
        (r"^\w\s\W$", r'[A-Za-z0-9_][ ][^A-Za-z0-9_"\\\x00-\x1f]', True),
        ("^(?:a|b)(?<n>c)$", "(a|b)(c)", True),
        ("^[^a]$", r'[^a"\\\x00-\x1f]', True),
        (r"^[\s\d]$", "[ 0-9]", True),
        (r"^\u0041\x42\u{43}$", "ABC", True),
        (r"^\.\/\-$", r"\.\/\-", True),
        (r"\Aa\z", "a", True),
        (r"^\p{L}$", ANY, False),
        (r"^[\p{L}_]$", ANY, False),
        (r"^(?=a)(?!b)c(?<=c)$", "c", False),
        (r"^\ba\B$", "a", False),
        (r"^(a)\1$", f"(a){ANY}*", False),
        ("^(a$|b)$", "(a|b)", False),
        ('^"$', None, True),
        (r"^\n$", None, True),
        ('^["]$', None, True),
        ("^(?i)a$", None, True),
    ],
)
def test_a_pattern_becomes_one_of_whole_strings(source: str, text: str | None, exact: bool) -> None:
    pattern = read_pattern(source)
    assert (pattern.text, pattern.exact) == (text, exact)


@pytest.mark.parametrize(
    ("source", "size"),
    [("abc", 3), ("a{10}", 11), ("(a{1,900}){1,9}k", 8101), ("(ab|c){3,}", 16), ("a*", 1),
     ("((((a{99}){99}){99}){99}){99}", 10**10)],
)  # fmt: skip
def test_repetitions_are_written_out_to_be_counted(source: str, size: int) -> None:
    assert read_pattern(source).size == size


@pytest.mark.parametrize(
    "source",
    ["(", ")", "[", "[b-a]", "a{2,1}", "*", "a**", "\\", r"\p", "(?x)a", "(?<1>a)",
     "(?#c)", "(" * 99 + ")" * 99],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_where_it_counts(source: str) -> None:
    with pytest.raises(InvalidPattern):
        read_pattern(source)
    schema = {"type": "string", "pattern": source}
    assert refusal(schema).param == "s.pattern"
    assert plan(schema, enforced=False).unchecked == ("s.pattern",)
    assert fits(schema, "anything")


@given(st.text("ab1_-.|()[]{}^$*+?\\dws,", max_size=12))
def test_the_rewritten_pattern_matches_no_less(source: str) -> None:
    try:
        pattern = read_pattern(source)
        original = re.compile(source)
    except (InvalidPattern, re.error):
        return
    if pattern.text is None:
        return
    rewritten = re.compile(pattern.text)
    for value in ("", "a", "b", "ab", "aab", "1", "a1_", "-", "b.a", "a|b", "$", "a,b"):
        if original.search(value):
            assert rewritten.fullmatch(value), (source, pattern.text, value)
        elif pattern.exact:
            assert not rewritten.fullmatch(value), (source, pattern.text, value)


def test_a_pattern_takes_linear_time() -> None:
    assert not fits({"type": "string", "pattern": "^(a+)+$"}, "a" * 50_000 + "b")


def test_lookaround_has_a_bound() -> None:
    assert not fits({"type": "string", "pattern": "^(?=a)(a|aa)+$"}, "a" * 5_000 + "b")


def test_of_pattern_format_and_length_the_grammar_has_one() -> None:
    schema = {"type": "string", "pattern": "^a+$", "format": "date", "maxLength": 3}
    assert grammar(schema) == {"type": "string", "pattern": "a+"}
    assert plan(schema).left_out == ("s.maxLength",)
    assert grammar({"type": "string", "format": "date", "minLength": 1})["format"] == "date"
    assert grammar({"type": "string", "format": "path"}) == {"type": "string"}
    assert json.dumps(grammar({"type": "string", "pattern": '"', "minLength": 2})) == (
        '{"type": "string", "minLength": 2}'
    )
