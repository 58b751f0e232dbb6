"""The logs of one service, merged by time: its own, the gateway's, Triton's and each model's.

Every file is read as a stream, so memory is bounded by what is shown, however long a file is.
"""

import heapq
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

MODELS = "models"
"""Folder of the models' own logs: what the processes of each step print."""
_PLAIN = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[,.](\d{3})")
_TRITON = re.compile(r"[IWEF](\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6})")
_VLLM = re.compile(r"(?:\([^)]{1,64}\) )?[A-Z]+ (\d\d-\d\d \d\d:\d\d:\d\d) ")
_LONGEST = 1 << 16
_POLL_S = 0.2
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One line, and the log it is from. A line without a time has that of the line before it."""

    moment: float
    source: str = field(compare=False)
    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which lines: the last `count` of each log (all if None) from `since_s` on, about `models`."""

    count: int | None = None
    since_s: float = 0.0
    models: frozenset[str] = frozenset()

    def test_of(self, source: str) -> Callable[[str], object]:
        """Whether a line of that log is about the models."""
        if not self.models or source in self.models:
            return bool
        names = "|".join(sorted(map(re.escape, self.models), key=len, reverse=True))
        # Triton appends `_0_0` to the name of an instance
        return re.compile(rf"(?<![\w.-])(?:{names})(?:_\d+_\d+)?(?![\w-])").search


def sources(folder: Path) -> dict[str, Path]:
    """The logs in a service's folder by name: `service`, `gateway`, `triton`, and each model."""
    own = {path.stem: path for path in sorted(folder.glob("*.log"))}
    return own | {path.stem: path for path in sorted((folder / MODELS).glob("*.log"))}


def read(folder: Path, selection: Selection) -> list[Line]:
    """The selected lines of all logs, in the order of their times."""
    tails = []
    for source, path in _chosen(folder, selection).items():
        try:
            with path.open("rb") as file:
                tails.append(_tail(Tailed(source, selection).lines(file), selection.count))
        except OSError:
            continue  # it was emptied meanwhile
    merged = heapq.merge(*tails)
    return list(_tail(merged, selection.count))


def _tail(lines: Iterable[Line], count: int | None) -> deque[Line]:
    return deque(lines, maxlen=count)


def _chosen(folder: Path, selection: Selection) -> dict[str, Path]:
    """Logs of other models are not read."""
    models = {path.stem for path in (folder / MODELS).glob("*.log")}
    skipped = models - selection.models if selection.models else set()
    return {name: path for name, path in sources(folder).items() if name not in skipped}


@dataclass(slots=True)
class Tailed:
    """Lines of one log as they come, with their times."""

    source: str
    selection: Selection
    _moment: float = 0.0
    _rest: bytes = b""
    _about: Callable[[str], object] = field(init=False)

    def __post_init__(self) -> None:
        self._about = self.selection.test_of(self.source)

    def lines(self, file: BinaryIO) -> Iterator[Line]:
        """The selected lines of the file from its position on."""
        # a limit: a line without an end must not fill the memory
        for raw in iter(lambda: file.readline(_LONGEST), b""):
            self._rest += raw
            if not self._rest.endswith(b"\n") and len(self._rest) < _LONGEST:
                continue  # it is being written
            text, self._rest = self._rest.decode(errors="replace").rstrip("\r\n"), b""
            # never backwards: `heapq.merge` needs each log in order, and clocks are set
            self._moment = max(self._moment, moment_of(text) or self._moment)
            if self._moment >= self.selection.since_s and self._about(text):
                yield Line(self._moment, self.source, text)


def moment_of(text: str) -> float | None:
    """The time that a line of the service, the gateway, Triton or vLLM begins with."""
    if found := _PLAIN.match(text):
        return datetime.fromisoformat(found[1]).timestamp() + int(found[2]) / 1000
    if found := _TRITON.match(text):  # Triton's times are UTC
        return _latest("{}-{} {}:{}:{}.{}+00:00".format(*found.groups()))
    if found := _VLLM.match(text):
        return _latest(found[1])
    return None


def _latest(written: str) -> float | None:
    """The last such date that has been: neither Triton nor vLLM writes the year."""
    now = time.time()
    this = time.gmtime(now).tm_year
    # from the next year, which has begun in some time zones; eight years have a February 29
    for year in range(this + 1, this - 9, -1):
        try:
            moment = datetime.fromisoformat(f"{year}-{written}").timestamp()
        except ValueError:
            continue
        if moment < now + _DAY_S:
            return moment
    return None


class Followed:
    """All logs of a service as they grow, also across a rotation: a file that was replaced is read
    to its end, then the new one from its beginning; one that was cut short from its beginning."""

    def __init__(self, folder: Path, selection: Selection) -> None:
        self._folder, self._selection = folder, selection
        self._open: dict[str, tuple[BinaryIO, Tailed]] = {}

    def begin(self) -> None:
        """Starts at the end of the logs: existing lines are not returned."""
        for name in _chosen(self._folder, self._selection):
            if opened := self._reopen(name):
                opened[0].seek(0, 2)

    def read(self) -> list[Line]:
        """The new lines of all logs, in the order of their times."""
        new: list[Line] = []
        chosen = _chosen(self._folder, self._selection)
        for name, path in chosen.items():
            file, tailed = self._open.get(name) or self._reopen(name) or (None, None)
            if file is None or tailed is None:
                continue
            # the old file to its end first: its last lines were written before the rotation
            new += tailed.lines(file)
            if _was_replaced(file, path) and (opened := self._reopen(name)):
                new += opened[1].lines(opened[0])
        return sorted(new)

    def _reopen(self, name: str) -> tuple[BinaryIO, Tailed] | None:
        if name in self._open:
            self._open.pop(name)[0].close()
        try:
            opened = sources(self._folder)[name].open("rb"), Tailed(name, self._selection)
        except (OSError, KeyError):
            return None
        self._open[name] = opened
        return opened

    def close(self) -> None:
        """Closes the files."""
        for file, _ in self._open.values():
            file.close()


def follow(followed: Followed, running: Callable[[], bool]) -> Iterator[Line]:
    """New lines until the service has ended."""
    while True:
        runs = running()  # before the lines: then they are complete
        yield from followed.read()
        if not runs:
            return
        time.sleep(_POLL_S)


def _was_replaced(file: BinaryIO, path: Path) -> bool:
    was = os.fstat(file.fileno())
    try:
        now = path.stat()
    except OSError:
        return False
    return (was.st_dev, was.st_ino) != (now.st_dev, now.st_ino) or now.st_size < file.tell()
