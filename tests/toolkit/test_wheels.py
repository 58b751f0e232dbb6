"""A wheel is downloaded once, also by several processes at the same time."""

import threading
from pathlib import Path

import pytest

from toolkit import wheels
from toolkit.atomic import lock_of, locked
from toolkit.progress import Progress
from toolkit.wheels import fetch_wheel


def test_a_wheel_that_another_process_fetches_is_waited_for(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads: list[str] = []

    def download(requirement: str, folder: Path, _: Progress) -> None:
        downloads.append(requirement)
        folder.mkdir()
        (folder / "a.whl").write_text("wheel")

    monkeypatch.setattr(wheels, "_download", download)
    asked, found = threading.Event(), []
    folder = own_home / "wheels" / "a==1"
    folder.parent.mkdir(parents=True)

    def ask() -> None:
        asked.set()
        found.append(fetch_wheel("a==1"))

    waiting = threading.Thread(target=ask)
    with locked(lock_of(folder)):
        waiting.start()
        assert asked.wait(30)
        # a lock of this process's other descriptor keeps the thread out, as another process's would
        download("a==1", folder, wheels.silent)
    waiting.join(30)
    assert found == [folder / "a.whl"]
    assert downloads == ["a==1"]
