"""`toolkit run` starts a service where none has the model, and finds it again."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.processes import ROOT
from tests.support.repository import write_echo_chat
from toolkit.cli.run_options import Options
from toolkit.cli.running import find_gateway
from toolkit.cli.single import plan_single
from toolkit.errors import ToolkitError
from toolkit.runtime.environments import link_environments
from toolkit.serve import record
from toolkit.serve.record import READY, Record


def toolkit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toolkit", *arguments],
        input="",
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": "/usr/bin:/bin",
            "HOME": str(Path.home()),
            # a gateway does not start on the database of an older version, which the home may have
            "TRITON_FRONTEND_DATA_DIRECTORY": str(folder / "data"),
        },
        timeout=240,
        check=False,
    )


def test_a_repository_in_this_folder_is_served_and_found_again(tmp_path: Path) -> None:
    name = f"echo-{uuid.uuid4().hex}"  # no other service of this user has it
    repository = tmp_path / "model_repository"
    repository.mkdir()
    write_echo_chat(repository, name)
    link_environments(repository)
    first = toolkit(tmp_path, "run", name, "hello")
    assert first.returncode == 0, first.stderr
    assert first.stdout == "hello\n"
    port = first.stderr.partition("toolkit stop --port ")[2].partition("`")[0]
    try:
        second = toolkit(tmp_path, "run", name, "again")
        assert (second.stdout, second.stderr) == ("again\n", "")
    finally:
        stopped = toolkit(tmp_path, "stop", "--port", port)
    assert stopped.returncode == 0, stopped.stderr


def test_a_served_source_is_found_by_its_repository(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(ROOT / "examples" / "emoji" / "pipeline")
    repository = plan_single(source).repository
    running = Record(gateway.port, "", str(repository), 1, 0.0, gateway.url, state=READY)
    monkeypatch.setattr(record, "live_records", lambda: [running])
    assert find_gateway(source, Options(source)) == (gateway.url, "pipeline")
    assert find_gateway("echo", Options("echo")) == (gateway.url, "echo")
    with pytest.raises(ToolkitError, match="'ecko' is not served") as caught:
        find_gateway("ecko", Options("ecko"))
    assert caught.value.hint == "did you mean echo?"
    with pytest.raises(ToolkitError, match="neither a file nor a known model") as caught:
        find_gateway("something-else", Options("something-else"))
    assert "served: echo" in (caught.value.hint or "")
