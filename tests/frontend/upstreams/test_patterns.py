"""Aliases with a wildcard: what matches, and which of several patterns wins."""

import re

from hypothesis import given
from hypothesis import strategies as st

from frontend.upstreams.patterns import Patterns

TEXT = st.text("ab-", max_size=4)
PATTERNS = st.dictionaries(st.builds("{}*{}".format, TEXT, TEXT), st.text(min_size=1), max_size=12)


def test_the_more_specific_pattern_wins() -> None:
    patterns = Patterns({"claude-*": "small", "claude-opus-*": "large", "*": "any", "*-opus": "o"})
    assert patterns.find("claude-haiku") == "small"
    assert patterns.find("claude-opus-4") == "large"
    assert patterns.find("claude-opus") == "small", "more characters besides the wildcard"
    assert patterns.find("my-opus") == "o"
    assert patterns.find("") == "any"
    assert Patterns({}).find("a") is None


def test_a_wildcard_stands_for_any_text_also_for_none() -> None:
    patterns = Patterns({"gpt-*-mini": "m"})
    assert patterns.find("gpt--mini") == "m"
    assert patterns.find("gpt-4.1-mini") == "m"
    assert patterns.find("gpt-mini") is None, "the parts must not overlap"
    assert patterns.find("gpt-" + "x" * 300 + "-mini") is None


@given(PATTERNS, st.text("ab-", max_size=8))
def test_a_lookup_agrees_with_trying_every_pattern(models: dict[str, str], name: str) -> None:
    def matches(pattern: str) -> bool:
        before, _, after = pattern.partition("*")
        return re.fullmatch(f"{re.escape(before)}.*{re.escape(after)}", name) is not None

    ranked = sorted(filter(matches, models), key=lambda p: (len(p), p.index("*")))
    assert Patterns(models).find(name) == (models[ranked[-1]] if ranked else None)
