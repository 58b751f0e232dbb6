"""Work for processes of `Workers`: a module of its own, whose imports take a process no time."""

import os
import signal
import time
from pathlib import Path


def number() -> int:
    return os.getpid()


def spin() -> None:
    """Uses a core for as long as it lives."""
    while True:
        pass


def hang() -> None:
    time.sleep(600)


def stall(mark: Path) -> None:
    mark.write_text(str(os.getpid()))
    time.sleep(600)


def grow() -> int:
    return len(bytearray(2**30))


def die() -> None:
    os._exit(3)


def blocked() -> set[int]:
    return {int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())}


def refuse() -> None:
    raise ValueError("not this")
