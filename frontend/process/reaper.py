"""Kills the process PID when it does not end in time after SIGTERM or SIGINT.

Run as `python reaper.py PID GRACE_S` by `signals.py`. Standard input is the pipe into which the
watched process's signal handler writes each signal's number; it is closed when that process ends.
"""

import os
import select
import signal
import sys
import time

_ENDS = (signal.SIGTERM, signal.SIGINT)
_AGAIN_S = 2.0  # what is left after the second signal, and between the two kinds of force


def main(pid: int, grace_s: float) -> None:
    """Returns when the process has ended, or was killed."""
    # systemd sends SIGTERM to every process of a unit (KillMode=control-group)
    for each in (*_ENDS, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    deadline_s = None
    while True:
        left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        if not select.select([0], [], [], left_s)[0]:
            break
        # one byte per signal: Python's C handler writes the number itself, without the interpreter
        number = os.read(0, 1)
        # the end of the pipe: the process has ended, and its id may belong to another one by now
        if not number:
            return
        if number[0] in _ENDS:
            wait_s = grace_s if deadline_s is None else _AGAIN_S
            # a second signal may only shorten the wait, never extend it
            deadline_s = min(deadline_s or float("inf"), time.monotonic() + wait_s)
    os.kill(pid, signal.SIGALRM)  # the first process of a container cannot be killed from inside
    if not select.select([0], [], [], _AGAIN_S)[0]:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
