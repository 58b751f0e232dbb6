"""Processes that share the files of their metrics, end in every way, and are started again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from frontend.telemetry.processes import begin_process, registry_of_all
from tests.support.metrics import value_of

_PROCESS = """
import sys
from frontend.telemetry.metrics import Metrics
from tests.support.upstream import request
metrics = Metrics()
metrics.runs.ended(request(), "m", 200, None)
metrics.watch("connections", "", lambda: 2)
metrics.refresh()
print("ready", flush=True)
sys.stdin.readline()
sys.stdout.buffer.write(metrics.render())
"""
_GONE = (2**22 + 1, 2**22 + 2)
"""Numbers of no process: the kernel's are below."""


def start(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", _PROCESS], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"PROMETHEUS_MULTIPROC_DIR": str(folder)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_dead_keep_their_counters_and_lose_their_gauges_and_files(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    processes = [start(folder) for _ in range(2)]
    both, _ = processes[0].communicate("\n", 30)
    assert value_of(both, "gateway_requests_total", model="m", status="200") == 2
    assert value_of(both, "gateway_connections") == 4
    assert value_of(both, "process_resident_memory_bytes") > 0
    processes[1].kill()
    processes[1].communicate()
    for round_ in range(3):
        last = start(folder)
        text, _ = last.communicate("\n", 30)
        assert value_of(text, "gateway_requests_total", model="m") == 3 + round_
        name = "gateway_request_duration_seconds"
        assert value_of(text, f"{name}_count", model="m") == 3 + round_
        assert value_of(text, f"{name}_bucket", model="m", le="+Inf") == 3 + round_
        assert value_of(text, "gateway_connections") == 2
        # of the last one, and of all that were there before
        assert len([*folder.glob("*.db")]) == 5, [*folder.iterdir()]
        assert len([*folder.glob("*.lock")]) == 2


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """With what two processes left that are gone."""
    for number in _GONE:
        for kind, name in (("counter", "c_total"), ("histogram", "h_sum"), ("gauge_livesum", "g")):
            file = MmapedDict(str(tmp_path / f"{kind}_{number}.db"))  # type: ignore[no-untyped-call]
            key = mmap_key(name.partition("_")[0], name, ["a"], ["b"], "help")  # type: ignore[no-untyped-call]
            file.write_value(key, 1.5, 0)  # type: ignore[no-untyped-call]
            file.close()  # type: ignore[no-untyped-call]
    yield tmp_path
    begin_process.cache_clear()


def shown(folder: Path) -> str:
    with registry_of_all(str(folder)) as registry:
        return generate_latest(registry).decode()


def check(text: str) -> None:
    assert value_of(text, "c_total", a="b") == 3
    assert value_of(text, "h_sum", a="b") == 3
    assert value_of(text, "g") == 0


class Killed(BaseException):
    """In place of `kill -9`."""


@pytest.mark.parametrize("step", range(17))
def test_a_process_that_is_killed_while_it_adds_up_loses_and_doubles_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    left = iter(range(step))

    def dying(name: str) -> None:
        real = getattr(Path, name)

        def call(*arguments: object, **more: object) -> object:
            if next(left, None) is None:
                raise Killed
            return real(*arguments, **more)

        monkeypatch.setattr(Path, name, call)

    with monkeypatch.context():
        for name in ("replace", "unlink", "write_text"):
            dying(name)
        try:
            shown(folder)
            killed = False
        except Killed:
            killed = True
        monkeypatch.undo()
    assert killed == (step < 15), "the steps have changed: try all of them"
    check(shown(folder))
    check(shown(folder))
    assert sorted(one.name for one in folder.glob("*.db")) == ["counter_0.db", "histogram_0.db"]
    assert sorted(one.name for one in folder.glob("*")) == [
        "counter_0.db", "folder.lock", "histogram_0.db",
    ]  # fmt: skip


def test_the_number_of_a_dead_process_is_used_again(folder: Path) -> None:
    for kind in ("counter", "histogram", "gauge_livesum"):
        (folder / f"{kind}_{_GONE[0]}.db").rename(folder / f"{kind}_{os.getpid()}.db")
    alive = begin_process(str(folder))
    assert not [*folder.glob(f"*_{os.getpid()}.db")]
    check(shown(folder))
    alive.close()


@pytest.mark.parametrize("content", [b"", (64).to_bytes(8, "little") + b"\x7f" * 56])
def test_a_file_that_cannot_be_read_hides_nothing_else(
    folder: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (folder / f"counter_{_GONE[0] + 7}.db").write_bytes(content)
    check(shown(folder))
    assert "cannot be read" in caplog.text
    check(shown(folder))


def test_two_containers_with_one_folder_are_refused(tmp_path: Path) -> None:
    held = begin_process(str(tmp_path))
    begin_process.cache_clear()
    with pytest.raises(ValueError, match="containers cannot share the folder"):
        begin_process(str(tmp_path))
    held.close()
