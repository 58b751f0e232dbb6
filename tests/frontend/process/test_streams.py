"""Standard streams that are closed, full or without a reader, and a full disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.disks import run_on_small_disk
from tests.support.processes import ROOT


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"{sys.executable}" -m frontend {command}'],
        env=os.environ | {"TRITON_FRONTEND_DATA_DIRECTORY": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["--help", "check"])
def test_closed_streams_do_not_stop_a_command(command: str, closed: str, tmp_path: Path) -> None:
    ran = run(f"{command} {closed}", tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("output", ["> /dev/full", "| true"])
def test_output_that_cannot_be_written_is_an_error_and_not_a_traceback(
    output: str, tmp_path: Path
) -> None:
    ran = run(f"groups list --json {output}", tmp_path)
    message = "error: standard output: No space left on device\n"
    if output == "| true":  # whether the reader goes first is chance
        assert (ran.returncode, ran.stderr) in {(0, ""), (1, "")}
    else:
        assert (ran.returncode, ran.stderr) == (1, message)


@pytest.mark.parametrize(
    ("command", "code", "named"),
    [
        ("serve --port 0", 2, "setting 'data_directory': {}"),
        ("check", 2, "setting 'data_directory': {}"),
        ("users create ada", 1, "the database is not available: {}"),
    ],
)
def test_a_full_disk_is_named_with_a_remedy_and_nothing_is_left(
    command: str, code: int, named: str, tmp_path: Path
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    program = [sys.executable, "-m", "frontend", *command.split()]
    ran = run_on_small_disk(
        folder,
        [*program, "--data-directory", str(folder / "data")],
        os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (ran.returncode, ran.stdout) == (code, "")
    problem, hint = ran.stderr.splitlines()
    assert problem == f"error: {named.format(folder / 'data')}: No space left on device"
    assert hint == "hint: free space there, or set `data_directory` to a folder on another disk"
