"""Ctrl-C while a module is imported.

C code turns the interruption into an error of its own: numpy prints a traceback and raises
ImportError. So what such an error prints is dropped, and `is_import_interrupted` tells that it
was the cause. A callback of importlib's locks ignores the interruption; then it is repeated.
"""

import io
import signal
import sys
from types import FrameType
from typing import TextIO

_IMPORT = "<frozen importlib._bootstrap>"
_AGAIN_S = 0.01
_interrupted = False


def watch_interrupts() -> None:
    """Makes Ctrl-C a KeyboardInterrupt, as Python does, and remembers whether it hit an import."""
    # ignored in a background job of a shell, and then it stays so
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def is_import_interrupted() -> bool:
    """Whether Ctrl-C was pressed during an import: an error is then no more than its effect."""
    return _interrupted


def _interrupt(_number: int, frame: FrameType | None) -> None:
    global _interrupted  # noqa: PLW0603
    if _imports(frame):
        _interrupted = True
        sys.stderr = _Muted(sys.stderr)
        sys.unraisablehook = _repeat
    raise KeyboardInterrupt


def _repeat(ignored: "sys.UnraisableHookArgs") -> None:
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
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
