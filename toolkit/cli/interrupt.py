"""Turns Ctrl-C, SIGTERM and a closed terminal into exceptions, so that a command removes
incomplete results.

While a module is imported, C code turns the interruption into an error of its own: numpy prints a
traceback and raises ImportError. So what such an error prints is dropped, and
`is_import_interrupted` reports that the interruption was the cause. A callback of importlib's locks
ignores the interruption; then it is repeated.
"""

import contextlib
import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn, TextIO

_IMPORT = "<frozen importlib._bootstrap>"
_AGAIN_S = 0.01
_interrupted = False
_status = 128 + signal.SIGINT


class Terminated(SystemExit):
    """SIGTERM or SIGHUP. Not a KeyboardInterrupt: a chat continues after one."""


def watch_interrupts() -> None:
    """Makes these signals exceptions, and remembers whether one hit an import."""
    defaults = (signal.default_int_handler, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # ignored in a background job of a shell or under nohup, and then it stays so
        if signal.getsignal(number) in defaults:
            signal.signal(number, _interrupt)


def end_interrupted() -> NoReturn:
    """Ends the process with 128 and the signal's number.

    A regular exit of Python frees imported modules, which took 2 to 4 seconds with torch on a busy
    machine. Incomplete results were removed before.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(_status)


def is_import_interrupted() -> bool:
    """Whether Ctrl-C was pressed during an import; an error is then only a consequence of it."""
    return _interrupted


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted, _status  # noqa: PLW0603
    if number != signal.SIGALRM:
        _status = 128 + number
    if _imports(frame):
        _interrupted = True
        sys.stderr = _Muted(sys.stderr)
        sys.unraisablehook = _repeat
    if _status == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(_status)


def _repeat(ignored: "sys.UnraisableHookArgs") -> None:
    if not issubclass(ignored.exc_type, KeyboardInterrupt | Terminated):
        sys.__unraisablehook__(ignored)
        return
    # a little later, because an exception within this function would be ignored, too
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)


class _Muted(io.TextIOBase):
    """Drops what is printed from within an import; whatever is printed later ends it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if _imports(sys._getframe()):
            return len(text)
        sys.stderr = self._stream
        return self._stream.write(text)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
