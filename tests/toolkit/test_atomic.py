"""A cached folder is complete or absent, whichever process makes it and however that ends."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toolkit.atomic import COMPLETE, ensure, ensure_in_place, lock_of, locked, replacing


def write(place: Path) -> None:
    (place / "file").write_text("content")


def test_makes_a_folder_once(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "place"
    assert ensure(place, write) == place
    ensure(place, lambda _: pytest.fail("made again"))
    assert (place / "file").read_text() == "content"
    assert os.listdir(place.parent) == ["place"]


def test_keeps_nothing_when_making_fails(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        write(place)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        ensure(tmp_path / "place", fail)
    assert os.listdir(tmp_path) == []


def test_two_builders_make_it_once(tmp_path: Path) -> None:
    made: list[int] = []
    gate = threading.Barrier(4)

    def make(place: Path) -> None:
        made.append(1)
        write(place)

    def run() -> None:
        gate.wait()
        ensure(tmp_path / "place", make)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert os.listdir(tmp_path) == ["place"]


HANG = """
import sys, time
from pathlib import Path
from toolkit.atomic import ensure
def make(place):
    (place / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(600)
ensure(Path(sys.argv[1]), make)
"""


def test_a_killed_builder_leaves_nothing_half_made(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with subprocess.Popen(
        [sys.executable, "-c", HANG, str(place)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert not place.exists()
    ensure(place, write)
    assert sorted(os.listdir(tmp_path)) == ["place"]
    assert os.listdir(place) == ["file"]


def test_a_folder_that_is_made_in_place_says_when_it_is_complete(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "half").touch()  # as a killed process leaves it
    ensure_in_place(place, write)
    assert sorted(os.listdir(place)) == [COMPLETE, "file"]
    ensure_in_place(place, lambda _: pytest.fail("made again"))
    assert os.listdir(tmp_path) == ["place"]


def test_a_lock_is_waited_for_or_not(tmp_path: Path) -> None:
    lock = lock_of(tmp_path / "place")
    with locked(lock), pytest.raises(BlockingIOError), locked(lock, wait=False):
        pytest.fail("two holders")
    assert os.listdir(tmp_path) == []


REPLACE = """
import sys, time
from pathlib import Path
from toolkit.atomic import replacing
with replacing(Path(sys.argv[1]), Path(sys.argv[2])) as scratch:
    (scratch / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_killed_replacement_changes_nothing_and_is_cleared_up(tmp_path: Path) -> None:
    place, lock = tmp_path / "a" / "place", tmp_path / "lock"
    ensure(place, write)
    with subprocess.Popen(
        [sys.executable, "-c", REPLACE, str(place), str(lock)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(BlockingIOError), replacing(place, lock):
            pytest.fail("two at a time")
        process.send_signal(signal.SIGKILL)
    assert os.listdir(place) == ["file"]
    assert len(os.listdir(place.parent)) == 2
    with replacing(place, lock) as scratch:
        (scratch / "new").touch()
    assert os.listdir(place) == ["new"]
    assert os.listdir(place.parent) == ["place"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_folders_change_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr("toolkit.atomic._exchange_names", lambda *_: False)
    place = tmp_path / "a" / "place"
    for content in ("first", "second"):
        with replacing(place, tmp_path / "lock") as scratch:
            (scratch / content).touch()
        assert [path.name for path in place.iterdir()] == [content]
    assert [path.name for path in place.parent.iterdir()] == ["place"]


def test_a_folder_taken_away_by_a_killed_process_comes_back(tmp_path: Path) -> None:
    aside = tmp_path / ".place.previous-1"
    aside.mkdir()
    (aside / "old").touch()
    with pytest.raises(ValueError, match="stop"), replacing(tmp_path / "place", tmp_path / "lock"):
        raise ValueError("stop")
    assert (tmp_path / "place" / "old").exists()
    assert not aside.exists()


def test_a_destination_is_named_and_not_the_folder_beside_it(tmp_path: Path) -> None:
    place = Path("/proc/none")  # no file system below it takes a new name
    with pytest.raises(FileNotFoundError) as caught, replacing(place, tmp_path / "lock"):
        pass
    assert caught.value.filename == str(place)


def test_a_full_disk_is_told_of_the_destination(tmp_path: Path) -> None:
    place = tmp_path / "place"

    def write(folder: Path) -> None:
        (folder / "weights").symlink_to("/dev/full")
        (folder / "weights").write_text("0")

    def copy(folder: Path) -> None:
        (folder / "weights").symlink_to("/dev/full")
        shutil.copyfile(__file__, folder / "weights")

    for fill in (write, copy):
        with pytest.raises(OSError, match="No space left") as caught:
            ensure(place, fill)
        assert caught.value.filename == str(place)
        with pytest.raises(OSError, match="No space left") as caught:  # noqa: SIM117
            with replacing(place, tmp_path / "lock") as scratch:
                fill(scratch)
        assert caught.value.filename == str(place)
    assert [*tmp_path.iterdir()] == []


def test_errors_about_other_files_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "x", tmp_path / "lock"):
        (tmp_path / "gone").read_text()
    assert caught.value.filename == str(tmp_path / "gone")
