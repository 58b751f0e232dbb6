"""The service's own log: the lines that `toolkit serve` prints while it runs, with the time.

Lines have the gateway's format, so that both logs can be merged.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FILE = "service.log"
_LABEL = "INFO toolkit.serve "


def logged(path: Path, say: Callable[[str], None]) -> Callable[[str], None]:
    """Returns a function that prints a text and appends it to the log at `path` (mode 0600)."""

    def report(text: str) -> None:
        say(text)
        write(path, text)

    return report


def write(path: Path, text: str) -> None:
    """Appends a text. A log that cannot be written does not end the service."""
    now = time.time()
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    line = f"{moment},{int(now * 1000) % 1000:03} {_LABEL}{text.strip()}\n"
    with suppress(OSError):
        # opened for each line: a rotation may have moved the file away
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as log:
            log.write(line)


def text_of(line: str) -> str:
    """The text of a line, without its time."""
    return line.partition(_LABEL)[2] or line
