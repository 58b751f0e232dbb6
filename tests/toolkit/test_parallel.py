"""Several calls at a time: order, errors, and an interruption that waits for nothing."""

import subprocess
import sys
import threading
import time

import pytest

from tests.support.processes import ROOT
from toolkit.parallel import in_parallel


def test_results_are_in_the_order_of_the_items() -> None:
    def wait(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    assert in_parallel(wait, [0.05, 0.0, 0.02], 2) == [0.05, 0.0, 0.02]
    assert in_parallel(wait, [], 2) == []


def test_no_more_run_at_a_time_than_may() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def count(_: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1

    in_parallel(count, range(12), 3)
    assert most == [3]


def test_an_error_stops_the_others_and_is_raised_after_them() -> None:
    begun, stop, ended = threading.Event(), threading.Event(), list[int]()

    def work(number: int) -> None:
        if number == 0:
            assert begun.wait(60)
            raise ValueError("no")
        begun.set()
        assert stop.wait(60)
        ended.append(number)

    with pytest.raises(ValueError, match="no"):
        in_parallel(work, range(9), 2, stop.set)
    assert ended == [1], "what had begun ends, and nothing else begins"


def test_an_interruption_does_not_wait() -> None:
    program = (
        "import os, signal, threading, time; from toolkit.parallel import in_parallel\n"
        "def work(_):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(600)\n"
        "in_parallel(work, [1, 2], 2)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert ran.stderr.endswith(b"KeyboardInterrupt\n")
