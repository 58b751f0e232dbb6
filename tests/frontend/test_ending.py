"""SIGTERM ends the process whatever it does: here it waits in C and holds the interpreter."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import ROOT, alive, wait_for

BLOCKED = """
import asyncio, ctypes, uvloop
from frontend.ending import ended_by_signals

async def main():
    with ended_by_signals(0.5):
        print("ready", flush=True)
        ctypes.PyDLL(None).sleep(600)

uvloop.run(main())
"""
WAITING = BLOCKED.replace("ctypes.PyDLL(None).sleep(600)", "await asyncio.sleep(600)").replace(
    "async def main():",
    "import signal\nasync def main():\n    signal.signal(signal.SIGTERM, lambda *_: None)",
)


def run(script: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("script", [BLOCKED, WAITING], ids=["in C", "in Python"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_does_not_end_is_ended(script: str, number: signal.Signals) -> None:
    if script == WAITING and number is signal.SIGINT:
        script = script.replace("SIGTERM", "SIGINT")
    process = run(script)
    (reaper,) = psutil.Process(process.pid).children()
    process.send_signal(number)
    assert process.wait(20) != 0
    assert process.stdout is not None
    process.stdout.close()
    wait_for(lambda: not alive(reaper), what="the reaper's end")


def test_a_killed_process_leaves_no_reaper(tmp_path: Path) -> None:
    process = run(BLOCKED)
    (reaper,) = psutil.Process(process.pid).children()
    process.kill()
    process.wait(20)
    assert process.stdout is not None
    process.stdout.close()
    wait_for(lambda: not alive(reaper), what="the reaper's end")


def test_a_process_that_ends_by_itself_is_not_waited_for() -> None:
    process = run(BLOCKED.replace("ctypes.PyDLL(None).sleep(600)", "pass"))
    assert process.wait(20) == 0
    assert process.stdout is not None
    process.stdout.close()
