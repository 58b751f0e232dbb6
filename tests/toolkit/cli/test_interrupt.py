"""Ctrl-C while modules are imported: the program ends with 130 and prints nothing."""

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
