"""Standard streams: closed by the caller, or without a reader."""

import os
import sys


def open_closed_streams() -> None:
    """Opens what the caller closed (`>&-`): libuv aborts if another file gets such a number."""
    # in the order of their numbers: an opened file gets the lowest that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def drop_output() -> None:
    """Standard output goes nowhere from now on: Python flushes it at exit, and would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
