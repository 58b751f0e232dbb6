"""Standard streams that every command can use: closed ones, and encodings without `→` or `✓`."""

import io
import os
import sys


def prepare_streams() -> None:
    """Opens what the caller closed (`>&-`), and lets each character be printed.

    What an encoding lacks is printed as an escape, as Python does on standard error.
    """
    # in the order of their numbers: an opened file gets the lowest that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
