"""A cached folder is complete or absent, whoever makes it and however that ends."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toolkit.weights.cache import ensure


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
from toolkit.weights.cache import ensure
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
