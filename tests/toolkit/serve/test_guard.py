"""The guard leaves nothing of its command behind, however the parent ends."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from toolkit.serve.child import Child, Command, clean_environment

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)
"""
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); print(1, flush=True); time.sleep(600)
"""
FAMILY = """
import subprocess, sys, time, mmap, os
name = sys.argv[1]
fd = os.open(f"/dev/shm/{name}", os.O_CREAT | os.O_RDWR)
os.ftruncate(fd, 4096); kept = mmap.mmap(fd, 4096)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def command(code: str, log: Path, *arguments: str, grace_s: float = 5, **more: str) -> Command:
    return Command(
        argv=[sys.executable, "-c", code, *arguments],
        log=log,
        environment=clean_environment(),
        folder=Path("/"),
        grace_s=grace_s,
        **more,
    )


def wait_for(condition: Callable[[], object], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_exit_code_is_the_commands(tmp_path: Path) -> None:
    child = Child(command("raise SystemExit(7)", tmp_path / "log"))
    wait_for(lambda: child.exit_code is not None)
    assert child.exit_code == 7
    child.kill()


def test_end_is_graceful(tmp_path: Path) -> None:
    child = Child(command(POLITE, tmp_path / "log"))
    wait_for(child.log_tail)
    assert child.end() == 3


def test_a_command_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    child = Child(command(STUBBORN, tmp_path / "log", grace_s=0.3))
    wait_for(child.log_tail)
    assert child.end() == 128 + signal.SIGKILL


def test_kill_takes_grandchildren_and_shared_memory(tmp_path: Path) -> None:
    name = f"guard-test-{os.getpid()}"
    child = Child(command(FAMILY, tmp_path / "log", name))
    wait_for(child.log_tail)
    grandchild = int(child.log_tail())
    child.kill()
    assert not psutil.pid_exists(grandchild)
    assert not Path("/dev/shm", name).exists()


def test_shared_memory_is_swept_by_prefix(tmp_path: Path) -> None:
    name = f"guard-prefix-{os.getpid()}-x"
    prefix = name[:-1]
    child = Child(command(FAMILY, tmp_path / "log", name, shm_prefix=prefix))
    wait_for(child.log_tail)
    child.kill()
    assert not Path("/dev/shm", name).exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_survives_the_parent(tmp_path: Path, number: signal.Signals) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    name = f"guard-orphan-{os.getpid()}-{int(number)}"
    parent = f"""
import sys, time
from pathlib import Path
from toolkit.serve.child import *
from tests.toolkit.serve.test_guard import FAMILY, command
log = Path({str(tmp_path / "log")!r})
child = Child(command(FAMILY, log, {name!r}, shm_prefix={name!r}, scratch={str(scratch)!r}))
while not child.log_tail(): time.sleep(0.02)
print(child.log_tail(), child.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.send_signal(number)
        process.wait(10)
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    assert not scratch.exists()
    assert not Path("/dev/shm", name).exists()


def test_what_a_command_makes_is_its_owners_alone(tmp_path: Path) -> None:
    made = tmp_path / "made"
    code = f"""
import os
made = os.open({str(made)!r}, os.O_CREAT, 0o666)
os.fchmod(made, 0o644)  # as Boost does with shared memory
"""
    log = tmp_path / "logs" / "log"
    log.parent.mkdir(mode=0o755)
    log.touch(0o644)
    child = Child(command(code, log))
    assert child.wait(10)
    child.kill()
    assert child.exit_code == 0, child.log_tail()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_other_modes_are_the_commands_own_business(tmp_path: Path) -> None:
    made = tmp_path / "made"
    code = f"import os; os.fchmod(os.open({str(made)!r}, os.O_CREAT, 0o666), 0o755)"
    child = Child(command(code, tmp_path / "log"))
    assert child.wait(10)
    child.kill()
    assert stat.S_IMODE(made.stat().st_mode) == 0o755


def test_shared_memory_is_noted_for_whoever_finds_a_killed_guard(tmp_path: Path) -> None:
    name = f"guard-noted-{os.getpid()}"
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FAMILY}"
    child = Child(command(stubborn, tmp_path / "log", name, scratch=str(tmp_path)))
    wait_for(child.log_tail)
    child.begin_stop()  # every word makes it look
    wait_for((tmp_path / "shared_memory").exists)
    child.kill()
    assert name in (tmp_path / "shared_memory").read_text().split()
