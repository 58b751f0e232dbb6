"""SIGTERM ends the gateway whatever it does, also while a C extension holds the interpreter's lock.

No Python code runs then, in no thread. But Python's own handler, which is C, writes the signal's
number into a pipe, and a small process at its other end (reaper.py) kills this one when the grace
is over.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_END_S = 5.0


@contextmanager
def ended_by_signals(grace_s: float) -> Iterator[None]:
    """To be entered in the running event loop, which has taken the wakeup pipe for itself.

    From then on the loop wakes up for signals only when something else wakes it.
    """
    reader, writer = os.pipe()
    # Python refuses a wakeup descriptor that blocks: a full pipe would hang the signal handler
    os.set_blocking(writer, False)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    # as a C function, because a handler in Python would not run while the lock is held
    libc.signal(signal.SIGALRM, ctypes.cast(libc._exit, ctypes.c_void_p))
    reaper = subprocess.Popen(
        # -I -S: no site-packages, so that it starts in milliseconds and uses little memory
        [sys.executable, "-I", "-S", "reaper.py", str(os.getpid()), str(grace_s)],
        stdin=reader,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
        # a signal to the whole group, such as Ctrl+C, must not end it before this process
        start_new_session=True,
    )
    os.close(reader)
    loops_own = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(loops_own, warn_on_full_buffer=False)
        # the end of the pipe is what lets the reaper return
        os.close(writer)
        reaper.wait(_END_S)
