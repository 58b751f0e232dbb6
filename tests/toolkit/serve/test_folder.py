"""What killed services leave behind is swept; what belongs to anybody else stays."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from toolkit.serve import folder as module
from toolkit.serve.folder import SHARED_MEMORY_LIST, PrivateFolder, check_disk, make_private, sweep


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "_YOUNG_S", 0.0)
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)  # pytest's folders have long paths
    return tmp_path


def killed(scratch: Path) -> Path:
    """The folder of a service that ended without removing it."""
    code = "from toolkit.serve import folder as f; f._MOST_BYTES = 1000; "
    code += "print(f.PrivateFolder.claim().path)"
    environment = {"TMPDIR": str(scratch), "PATH": os.environ["PATH"]}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    return Path(ran.stdout.decode().strip())


def test_a_claimed_folder_is_its_owners_alone_and_goes() -> None:
    folder = PrivateFolder.claim()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_a_long_temporary_folder_is_not_used_for_sockets(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", len(str(scratch)) - 1)
    monkeypatch.setattr(module, "_SHORT", str(tmp_path / "short"))
    (tmp_path / "short").mkdir()
    folder = PrivateFolder.claim()
    assert folder.path.parent == tmp_path / "short"
    os.close(folder._lock)
    assert sweep() == [folder.path], "a killed service's folder is found there again"


def test_the_folder_of_a_killed_service_goes_with_its_shared_memory(scratch: Path) -> None:
    left = killed(scratch)
    (left / "grpc.sock:1").touch()
    token = left.name.removeprefix("tritontk-")
    shared = [Path(f"/dev/shm/tritontk_{token}_1"), Path(f"/dev/shm/psm-{os.getpid()}-test")]
    for path in shared:
        path.touch()
    (left / SHARED_MEMORY_LIST).write_text(f"{shared[1].name}\n../../{left}/x\n")
    assert sweep() == [left]
    assert not [path for path in (left, *shared) if path.exists()]


def test_a_living_services_folder_stays() -> None:
    folder = PrivateFolder.claim()
    assert sweep() == []
    assert folder.path.exists()
    folder.remove()


def test_a_folder_that_is_being_made_stays(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = killed(scratch)
    monkeypatch.setattr(module, "_YOUNG_S", 60.0)
    assert sweep() == []
    assert left.exists()


def test_what_is_not_ours_stays(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = killed(scratch)
    foreign = scratch / "tritontk-link"
    target = scratch / "target"
    target.mkdir()
    foreign.symlink_to(target)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert sweep() == []
    assert left.exists()
    monkeypatch.undo()
    sweep()
    assert target.exists()


def test_a_folder_of_logs_becomes_private(tmp_path: Path) -> None:
    open_to_all = tmp_path / "logs"
    open_to_all.mkdir(mode=0o755)
    assert make_private(open_to_all).stat().st_mode & 0o777 == 0o700
    assert make_private(tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_logs_that_cannot_be_written_are_a_warning_that_names_the_folder(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "logs") is None
    assert not list((tmp_path / "logs").iterdir())
    (tmp_path / "file").touch()
    logs = tmp_path / "file" / "logs"
    assert check_disk(logs) == (
        f"warning: {logs} cannot be written: Not a directory; "
        "free space there, or this service has no logs"
    )


def test_a_full_disk_is_a_warning_that_names_the_folder(tmp_path: Path) -> None:
    """No file of the process may grow: what posix_fallocate then meets is a limit of size."""
    code = "import resource, signal, sys; from pathlib import Path; "
    code += "from toolkit.serve.folder import check_disk; "
    code += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
    code += "print(check_disk(Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path / "logs")]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert ran.stdout.startswith(f"warning: {tmp_path / 'logs'} cannot be written: File too large;")
