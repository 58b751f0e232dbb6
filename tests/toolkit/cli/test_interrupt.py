"""Ctrl-C and SIGTERM: 130 and 143, nothing half-made stays, and imports print nothing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PRESS = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
TURNED = f"""
import sys, traceback
try:
    {PRESS}
except KeyboardInterrupt as error:
    traceback.print_exc()
    raise ImportError("umath failed to import") from error
"""
IGNORED = f"""
import time
class Ends:
    def __del__(self):
        {PRESS}
del [Ends()][0]
time.sleep(60)
"""
PROGRAM = """
import sys, toolkit.cli.app
app = sys.modules["toolkit.cli.app"]
def imports(**_):
    import pressed
app.command = lambda **_: imports
app.main()
"""


@pytest.mark.parametrize("module", [TURNED, IGNORED, PRESS], ids=["turned", "ignored", "raised"])
def test_ctrl_c_during_an_import_ends_with_130_and_prints_nothing(
    module: str, tmp_path: Path
) -> None:
    (tmp_path / "pressed.py").write_text(module)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (130, "")


HALF_MADE = """
import os, signal, sys, toolkit.cli.app
from pathlib import Path
from toolkit.atomic import ensure
app = sys.modules["toolkit.cli.app"]
sys.argv = ["toolkit", "convert"]
class Slow:
    def __del__(self):
        print("taken apart")
slow = Slow()
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run with it ignored, by nohup
def fill(place):
    (place / "half").write_text("x")
    os.kill(os.getpid(), SIGNAL)
    signal.pause()
def convert(**_):
    ensure(Path("made"), fill)
app.command = lambda **_: convert
app.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_half_made_is_removed_and_the_process_ends_without_more(
    number: signal.Signals, tmp_path: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HALF_MADE.replace("SIGNAL", str(int(number)))],
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (128 + number, "interrupted: nothing was written\n")
    # libraries are not taken apart, which takes seconds
    assert ran.stdout == ""
    assert list(tmp_path.iterdir()) == []
