"""Services in the background: what their start reports, and how they are ended."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.processes import free_port
from toolkit.cli import app
from toolkit.errors import ServeError
from toolkit.home import home
from toolkit.serve import background, journal, record
from toolkit.serve.background import start_service, stop_service
from toolkit.serve.record import READY, Record, recorded

runner = CliRunner()
ENDS = """
import signal, sys, time
from pathlib import Path
from toolkit.serve import journal
log = Path(sys.argv[1])
def end(*_):
    journal.write(log, "waiting up to 20 s for running requests; Ctrl-C again kills them")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
signal.pause()
"""
STAYS = ENDS.replace("    sys.exit()", "    signal.pause()")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the services of this machine's user."""
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path / "home"))
    return home()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def service(code: str, port: int, processes: list[subprocess.Popen[bytes]], logs: Path) -> Record:
    """A process that stands for a service, and its record."""
    logs.mkdir(exist_ok=True)
    argv = [sys.executable, "-c", code, str(logs / journal.FILE)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    processes.append(process)
    born = record.psutil.Process(process.pid).create_time()
    return Record(port, "unix:x", "repo", process.pid, born, logs=str(logs), state=READY)


def test_a_start_that_fails_has_the_service_s_own_error(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "empty").mkdir()
    with pytest.raises(ServeError, match="does not contain models") as failed:
        start_service([str(tmp_path / "empty"), "--port", str(free_port())], said.append)
    assert failed.value.hint == "build it first: toolkit build-repo"
    assert failed.value.exit_code == 1
    with pytest.raises(ServeError, match="no such option: --prot") as failed:
        start_service(["--prot", "1"], said.append)
    assert failed.value.exit_code == 2
    assert not said


def test_a_start_returns_the_record_of_a_ready_service(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import signal, sys\nfrom pathlib import Path\n"
        "from toolkit.serve.record import Record, recorded\n"
        "print('load models …', flush=True)\n"
        "with recorded(Record.here(9123, 'unix:x', Path('r'))) as set_state:\n"
        "    set_state('ready')\n    signal.pause()\n"
    )
    monkeypatch.setattr(background, "_COMMAND", ["-c", code])
    said: list[str] = []
    started = start_service([], said.append)
    assert (started.port, started.state, said) == (9123, READY, ["load models …"])
    stop_service(started, said.append, 10)
    assert not started.alive


def test_stop_reports_what_it_waits_for(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    one = service(ENDS, 9001, processes, tmp_path / "logs")
    journal.write(tmp_path / "logs" / journal.FILE, "said before")
    with recorded(one):
        stopped = runner.invoke(app, ["stop"])
    assert stopped.exit_code == 0
    assert "waiting up to 20 s for running requests\n" in stopped.stderr
    assert "said before" not in stopped.stderr
    assert "stopped the service on port 9001" in stopped.stderr


def test_stop_never_kills_by_itself(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    one = service(STAYS, 9001, processes, tmp_path / "logs")
    with recorded(one):
        refused = runner.invoke(app, ["stop", "--timeout-s", "0.3"]).exception
    assert isinstance(refused, ServeError)
    assert "still running after 0.3 s" in refused.message
    assert one.alive


def test_a_reused_process_id_is_not_a_service(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    one = service(ENDS, 9001, processes, tmp_path / "logs")
    other = Record(9001, "unix:x", "repo", one.pid, one.started - 5, logs=one.logs)
    with recorded(other):
        stopped = runner.invoke(app, ["stop"])
    assert (stopped.exit_code, stopped.stderr) == (0, "no service is running\n")
    stop_service(other, print, 1)
    assert one.alive


def test_several_services_are_named_by_port(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    first = service(ENDS, 9001, processes, tmp_path / "one")
    second = service(ENDS, 9002, processes, tmp_path / "two")
    with recorded(first), recorded(second):
        refused = runner.invoke(app, ["stop"]).exception
        assert isinstance(refused, ServeError)
        assert refused.hint == "choose one with --port: 9001, 9002"
        missing = runner.invoke(app, ["stop", "--port", "9003"])
        assert missing.exit_code == 1
        assert runner.invoke(app, ["stop", "--port", "9002"]).exit_code == 0
        assert (first.alive, second.alive) == (True, False)
        assert runner.invoke(app, ["stop", "--all"]).exit_code == 0
    assert not first.alive
