"""Completes the text before the cursor: commands, their words, models, and files.

Pure but for the listing of one folder. Names with spaces are not offered: they need quotes.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_MOST = 200
"""Names that are offered at a time."""
Words = Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Completion:
    """`text` replaces the last `length` characters before the cursor."""

    text: str
    length: int


@dataclass(frozen=True, slots=True)
class Argument:
    """The completions of a command's argument: words, the words after one of those, and files."""

    words: Words = tuple
    behind: Callable[[str], Iterable[str]] = lambda _: ()
    files: bool = False


def complete(line: str, arguments: dict[str, Argument]) -> list[Completion]:
    """The candidates; `arguments` are those of each command."""
    command, space, rest = line.partition(" ")
    if not line.startswith("/"):
        # in a question only what looks like a path is completed
        word = line.rpartition(" ")[2]
        return _files(word) if word.startswith(("./", "../", "/", "~")) else []
    if not space:
        return _words(command, arguments) or _files(command)
    argument = arguments.get(command, Argument())
    first, space, value = rest.partition(" ")
    if space and (known := [*argument.behind(first)]):
        return _words(value, known)
    found = [] if space else _words(first, argument.words())
    return [*found, *_files(rest.rpartition(" ")[2])] if argument.files else found


def _words(start: str, words: Iterable[str]) -> list[Completion]:
    return [Completion(word, len(start)) for word in words if word.startswith(start)]


def _files(start: str) -> list[Completion]:
    """Files and folders, hidden ones only where a name begins with a dot."""
    folder, _, name = start.rpartition("/")
    place = Path(f"{folder}/" if "/" in start else ".").expanduser()
    try:
        with os.scandir(place) as entries:
            names = sorted(
                f"{entry.name}/" if entry.is_dir() else entry.name
                for entry in entries
                if entry.name.startswith(name)
                and (name or not entry.name.startswith("."))
                and " " not in entry.name
            )
    except OSError:
        return []
    return [Completion(each, len(name)) for each in names[:_MOST]]
