"""Checks the English of what people read: `python -m docs.words [PATH…]`.

Reads docstrings, comments, messages (string literals with a space in them) and Markdown, and
compares them with the patterns in `words.toml`, each of which names the plain alternative. It does
not parse grammar: a pattern is there because the phrase was used and read badly.
"""

import ast
import re
import subprocess
import sys
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_suffix(".toml")
_COMMENT = re.compile(r"(?:^|\s)#(?!!)[:\s]*(.*)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of prose. Its first character is in line `line` of its file."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Match:
    """`phrase` is what the file says, `instead` what it should say."""

    file: str
    line: int
    phrase: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: '{self.phrase}': {self.instead}"


@dataclass(frozen=True)
class Pattern:
    """A phrase to avoid. `bad` and `good` are examples, which the tests check."""

    find: str
    instead: str
    bad: tuple[str, ...]
    good: tuple[str, ...] = ()

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """`find`, compiled."""
        return re.compile(self.find, re.IGNORECASE)


@dataclass(frozen=True)
class Words:
    """The contents of `words.toml`: which files are read, what is avoided, and the exceptions."""

    checked: tuple[str, ...]
    skipped: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    allowed: tuple[tuple[str, str], ...]

    def covers(self, file: str) -> bool:
        """Whether the file is checked: below a `checked` path and not matched by `skipped`."""
        below = any(file == each or file.startswith(f"{each}/") for each in self.checked)
        return below and not any(fnmatch(file, each) for each in self.skipped)

    def allows(self, match: Match) -> bool:
        """Whether an `allow` entry names this phrase in this file."""
        return any(
            fnmatch(match.file, file) and phrase in match.phrase.lower()
            for file, phrase in self.allowed
        )


def load(path: Path = LIST) -> Words:
    """Reads the word list. Each exception must give a reason."""
    data = tomllib.loads(path.read_text())
    patterns = [
        Pattern(each["find"], each["instead"], tuple(each["bad"]), tuple(each.get("good", ())))
        for each in data["pattern"]
    ]
    exceptions = data.get("allow", [])
    if unexplained := [each for each in exceptions if not each.get("reason")]:
        raise ValueError(f"no reason is given for {unexplained}")
    allowed = [(each["file"], " ".join(each["phrase"].lower().split())) for each in exceptions]
    return Words(tuple(data["checked"]), tuple(data["skipped"]), tuple(patterns), tuple(allowed))


def texts(file: str, source: str) -> Iterator[Text]:
    """The prose of one file, by its suffix."""
    if file.endswith(".py"):
        yield from _strings(ast.parse(source))
        yield from _comments(source)
    elif file.endswith(".md"):
        yield Text(1, _FENCE.sub(lambda match: "\n" * match[0].count("\n"), source))
    else:
        yield from _comments(source)


def _strings(tree: ast.Module) -> Iterator[Text]:
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield Text(node.lineno, "".join(_part(part) for part in node.values))
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            yield Text(node.lineno, node.value)


def _part(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "{}"


def _comments(source: str) -> Iterator[Text]:
    """Comments; those of consecutive lines are one text."""
    block: list[str] = []
    for number, line in enumerate(source.splitlines(), 1):
        match = _COMMENT.search(line)
        if match:
            block.append(match[1])
        elif block:
            yield Text(number - len(block), "\n".join(block))
            block = []
    if block:
        yield Text(len(source.splitlines()) + 1 - len(block), "\n".join(block))


def check(file: str, source: str, words: Words) -> Iterator[Match]:
    """What in one file should be said otherwise."""
    for text in texts(file, source):
        joined, breaks = _joined(text.text)
        for pattern in words.patterns if " " in joined else ():
            for hit in pattern.expression.finditer(joined):
                line = text.line + bisect_right(breaks, hit.start())
                match = Match(file, line, hit[0], pattern.instead)
                if not words.allows(match):
                    yield match


def _joined(text: str) -> tuple[str, list[int]]:
    """The text in one line, and for each line break its position there."""
    joined, breaks = "", []
    for line in text.split("\n"):
        joined += f"{' '.join(line.split())} "
        breaks.append(len(joined))
    return joined, breaks


def tracked(root: Path = ROOT) -> list[str]:
    """The files in git and new ones that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return sorted(each for each in set(listed.stdout.splitlines()) if (root / each).is_file())


def main(arguments: Iterable[str] = ()) -> int:
    """Prints every match below the given paths, or in all files that are checked."""
    words, chosen = load(), [each.rstrip("/") for each in arguments]
    files = [
        each
        for each in tracked()
        if (
            any(each == path or each.startswith(f"{path}/") for path in chosen)
            if chosen
            else words.covers(each)
        )
    ]
    matches = [
        match
        for file in files
        for match in check(file, (ROOT / file).read_text(errors="replace"), words)
    ]
    for match in sorted(matches, key=lambda each: (each.file, each.line)):
        sys.stderr.write(f"{match}\n")
    return 1 if matches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
