"""SIGTERM ends the process whatever it does: here it waits in C and holds the interpreter."""

import signal
import subprocess
import sys

import psutil
import pytest

from tests.support.processes import ROOT, alive, wait_for

SCRIPT = """
import asyncio, itertools, signal, uvloop
from frontend.process.signals import ended_by_signals

async def main():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with ended_by_signals({grace_s}):
        print("ready", flush=True)
        {work}

uvloop.run(main())
"""
IN_C = "sum(itertools.repeat(0))  # neither threads nor signal handlers run"
IN_PYTHON = "while True: pass"
WAITING = "await asyncio.sleep(600)"


def run(work: str, grace_s: float = 0.5) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """The process, which ignores its signals, and its reaper."""
    script = SCRIPT.format(work=work, grace_s=grace_s)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    with process.stdout as told:
        assert told.readline() == b"ready\n"
    if work == "pass":
        return process, psutil.Process(process.pid)
    (reaper,) = psutil.Process(process.pid).children()
    wait_for(lambda: "reaper.py" in reaper.cmdline(), what="the reaper's start")
    return process, reaper


def check_end(process: subprocess.Popen[bytes], reaper: psutil.Process) -> None:
    assert process.wait(60) == signal.SIGALRM
    wait_for(lambda: not alive(reaper), what="the reaper's end")


@pytest.mark.parametrize("work", [IN_C, IN_PYTHON, WAITING])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_does_not_end_is_ended(work: str, number: signal.Signals) -> None:
    process, reaper = run(work)
    process.send_signal(number)
    check_end(process, reaper)


def test_a_second_signal_shortens_the_grace() -> None:
    process, reaper = run(IN_C, grace_s=600)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    check_end(process, reaper)


def test_a_killed_process_leaves_no_reaper() -> None:
    process, reaper = run(IN_C)
    process.kill()
    process.wait(60)
    wait_for(lambda: not alive(reaper), what="the reaper's end")


def test_a_process_that_ends_by_itself_is_not_waited_for() -> None:
    process, _ = run("pass", grace_s=600)
    assert process.wait(60) == 0
