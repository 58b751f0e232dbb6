"""Repairs standard streams that are closed, or whose encoding lacks characters such as `→`."""

import io
import os
import sys


def prepare_streams() -> None:
    """Opens streams that the caller closed (`>&-`), and makes all characters printable.

    A character that the encoding lacks is printed as an escape, as Python does on standard error.
    """
    # in the order of their numbers: an opened file gets the lowest that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
