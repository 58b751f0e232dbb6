"""The word list: each pattern matches its bad examples only; prose is checked, code is not."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from docs.words import Match, Pattern, Words, check, load, main, tracked

WORDS = load()
JSON = Words(("a.py",), (), (Pattern("is no json", 'write "is not valid JSON"', ()),), ())


@pytest.mark.parametrize("pattern", WORDS.patterns, ids=lambda pattern: pattern.bad[0])
def test_a_pattern_matches_its_bad_examples_only(pattern: Pattern) -> None:
    assert all(pattern.expression.search(each) for each in pattern.bad)
    assert not any(pattern.expression.search(each) for each in pattern.good)


def test_good_examples_pass_the_whole_list() -> None:
    good = "\n\n".join(f"# {each}" for pattern in WORDS.patterns for each in pattern.good)
    assert not list(check("a.sh", good, WORDS))


@pytest.mark.parametrize(
    ("file", "source", "line"),
    [
        ("a.py", '"""Title.\n\nThe body is\nno JSON."""\n', 3),
        ("a.py", "x = 1\n# what it is\n# is no JSON\n", 3),
        ("a.py", "x = 1  # which is no JSON\n", 1),
        ("a.py", 'raise E(\n    f"the body of {name} is "\n    "no JSON"\n)\n', 2),
        ("a.md", "```\nis no JSON\n```\nThis is no JSON.\n", 4),
        ("a.sh", "run\n# is no JSON\n", 2),
        ("Makefile", "check: ## fails for what is no JSON\n", 1),
    ],
)
def test_a_phrase_is_found_at_its_line(file: str, source: str, line: int) -> None:
    (found,) = check(file, source, JSON)
    assert (found.line, found.phrase.lower()) == (line, "is no json")
    assert "write" in str(found)


@pytest.mark.parametrize("source", ["is_no_json = 1\n", 'x = "is", "no JSON"\n'])
def test_code_is_not_prose(source: str) -> None:
    assert not list(check("a.py", source, JSON))


def test_an_exception_is_for_one_phrase_in_one_file() -> None:
    words = Words((), (), JSON.patterns, (("a.*", "is no json"),))
    assert not list(check("a.py", "# is no JSON\n", words))
    assert list(check("b.py", "# is no JSON\n", words))


def test_an_exception_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_text(
        'checked = []\nskipped = []\npattern = []\n[[allow]]\nfile = "a"\nphrase = "b"\n'
    )
    with pytest.raises(ValueError, match="no reason"):
        load(path)


def test_every_exception_is_still_needed() -> None:
    every = Words(WORDS.checked, WORDS.skipped, WORDS.patterns, ())
    files = [
        file
        for file in tracked()
        if every.covers(file) and any(fnmatch(file, excepted) for excepted, _ in WORDS.allowed)
    ]
    matches: list[Match] = [
        found
        for file in files
        for found in check(file, Path(file).read_text(errors="replace"), every)
    ]
    for exception in WORDS.allowed:
        one = Words((), (), (), (exception,))
        assert any(one.allows(found) for found in matches), exception


def test_the_command_says_where_and_what_instead(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs/words.py"]) == 0
    assert capsys.readouterr().err == ""
