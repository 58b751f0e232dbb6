"""A gateway that is forked does what a process of its own does."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.forks import Forked, start_frontend
from tests.support.gateway import run_gateway
from tests.support.processes import ROOT, wait_for

SET_BY_IMPORTS = {"GRPC_EXPERIMENTS": "-event_engine_client"}
READ_BY_IMPORTS = {"PROMETHEUS_MULTIPROC_DIR": "/nowhere"}


@pytest.mark.parametrize("arguments", [["--port", "many"], ["--drain-s", "-1"], ["help", "keys"]])
def test_both_print_the_same_and_end_alike(arguments: list[str], tmp_path: Path) -> None:
    seen = []
    kinds = (({}, Forked), (SET_BY_IMPORTS, Forked), (READ_BY_IMPORTS, subprocess.Popen))
    for more, kind in kinds:
        with (tmp_path / "log").open("wb") as log:
            process = start_frontend(arguments, log.fileno(), ROOT, {**os.environ, **more})
        seen.append((process.wait(60), (tmp_path / "log").read_text()))
        assert isinstance(process, kind)
    *forked, own = seen
    assert forked == [own, own]
    assert own[1]


def test_it_has_the_folder_and_the_environment_that_it_is_given(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_FRONTEND_DATA_DIRECTORY": "here"}
    with (tmp_path / "log").open("wb") as log:
        process = start_frontend(
            ["--port", "0", "--triton", "127.0.0.1:9"], log.fileno(), tmp_path, environment
        )
    wait_for((tmp_path / "here" / "gateway.db").exists, what="a database")
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL


def test_its_end_is_seen_whoever_ends_it(tmp_path: Path) -> None:
    with run_gateway("127.0.0.1:9", tmp_path / "log", wait_ready=False) as gateway:
        assert gateway.process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            gateway.process.wait(0)
        os.kill(gateway.process.pid, signal.SIGTERM)
        assert gateway.process.wait(60) == 0
    gateway.process.terminate()  # what has ended is left alone
