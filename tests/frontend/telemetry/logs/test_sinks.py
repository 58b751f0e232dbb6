"""Sinks with real threads, files and fake servers: nothing waits, little is lost, and it counts."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr, ValidationError

from frontend.settings.logs import LogSettings
from frontend.sinks import make_sinks
from frontend.telemetry.logs.lines import Line
from frontend.telemetry.logs.local import FileSink, StreamSink
from frontend.telemetry.logs.sink import Losses, Sink, Waiting
from frontend.telemetry.logs.spool import Spool
from tests.support.processes import wait_for
from tests.support.sinks import FakeSink, fake_sink

KINDS = ["elastic", "splunk", "loki"]


def line(message: str) -> Line:
    shown = {"time": "2026-01-02T03:04:05.123456Z", "level": "info", "message": message}
    return Line(orjson.dumps(shown), message.encode())


def started(
    kind: str, server: FakeSink, folder: Path, timeout_s: float = 5
) -> tuple[Sink, list[int]]:
    settings = LogSettings.model_validate(
        {
            "log_to": "none", "log_timeout_s": timeout_s, f"log_{kind}_url": server.url,
            f"log_{kind}_token": SecretStr("the-token"),
        }
    )  # fmt: skip
    (sink,) = make_sinks(settings, folder)
    lost: list[int] = []
    sink.losses.connect(lost.append)
    sink.start()
    return sink, lost


@pytest.mark.parametrize("kind", KINDS)
def test_lines_arrive_in_order_and_a_refused_one_is_counted(kind: str, tmp_path: Path) -> None:
    with fake_sink() as server:
        sink, lost = started(kind, server, tmp_path)
        for number in range(5):
            sink.put(line("poison" if number == 3 else f"line {number}"))
        wait_for(lambda: sum(lost) == 1, what="the refusal")
        sink.close(60)
    own = [message for message in server.messages if message.startswith("line")]
    assert own == ["line 0", "line 1", "line 2", "line 4"]
    assert "the-token" in server.heads[0][1]["authorization"]
    assert sink.waiting_bytes == 0
    assert [*(tmp_path / kind).iterdir()] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["fail", "drop", "stall", "trickle"])
def test_lines_wait_on_disk_while_a_sink_is_away(kind: str, mode: str, tmp_path: Path) -> None:
    with fake_sink(mode) as server:
        sink, lost = started(kind, server, tmp_path, timeout_s=0.2)
        sink.put(line("first"))
        wait_for(lambda: server.attempts >= 2, what="two attempts")
        sink.put(line("second"))
        wait_for(lambda: sink.waiting_bytes > 130, what="both lines on disk")
        server.mode = "accept"
        wait_for(lambda: "second" in server.messages, what="both lines")
        sink.close(60)
    # a busy machine may not read an answer within the time limit, and sends what it has sent
    assert [*dict.fromkeys(server.messages)] == ["first", "second"]
    assert sum(lost) == 0


def test_what_waits_is_sent_by_the_next_process(tmp_path: Path) -> None:
    with fake_sink("fail") as server:
        sink, _ = started("elastic", server, tmp_path)
        sink.put(line("before"))
        wait_for(lambda: server.attempts >= 1, what="an attempt")
        sink.close(0.1)
        (left,) = (tmp_path / "elastic").iterdir()
        # and a process that ended within a line
        batch = next(left.glob("*.jsonl"))
        batch.rename(batch.with_suffix(".open"))
        with batch.with_suffix(".open").open("ab") as file:
            file.write(b'{"time":"2026')
        server.mode = "accept"
        again, lost = started("elastic", server, tmp_path)
        again.put(line("after"))
        wait_for(lambda: len(server.messages) == 2, what="both lines")
        again.close(60)
    assert (server.messages, lost) == (["before", "after"], [])


def test_elastics_busy_lines_are_sent_again_alone(tmp_path: Path) -> None:
    with fake_sink() as server:
        server.busy_once = True
        sink, lost = started("elastic", server, tmp_path)
        sink.put(line("busy"))
        sink.put(line("other"))
        wait_for(lambda: len(server.messages) == 2, what="both lines")
        sink.close(60)
    assert (sorted(server.messages), sum(lost)) == (["busy", "other"], 0)


class Rest(threading.Event):
    """Something comes during each rest."""

    def __init__(self, come: Callable[[], None]) -> None:
        super().__init__()
        self._come = come

    def wait(self, timeout: float | None = None) -> bool:
        self._come()
        return False


def test_lines_are_written_together_also_when_one_waits_always() -> None:
    waiting = Waiting(10, Losses())
    waiting._closed = Rest(lambda: waiting.put(b"later"))
    waiting.put(b"first")
    assert waiting.take(None) == [b"first", b"later"]
    waiting.give_back([b"first"])  # as the disk was full: it waits for no further line
    assert waiting.take(None) == [b"first", b"later"]


def test_a_spool_is_bounded_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    spool.open()
    assert spool.append([b"a" * 40] * 4) == 2
    assert spool.size_bytes == 82
    batch = spool.take()
    assert batch is not None
    assert len(batch[1]) == 2
    spool.replace(batch[0], batch[1][:1])
    assert spool.append([b"a" * 40] * 2) == 1
    running = Spool(tmp_path, 100)
    running.open()
    assert running.take() is None  # those of a process that runs are its own
    running.close()
    spool.close()


def test_a_file_is_rotated_and_nothing_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "made" / "gateway.jsonl"
    sink = FileSink(path, 400, 2, 1000)
    sink.start()
    for number in range(3):
        sink.put(line(f"{number} " + "x" * 150))
        wait_for(
            lambda n=number: f'"{n} x' in path.read_text() if path.exists() else False, what="it"
        )
    path.rename(tmp_path / "moved")  # as logrotate does
    sink.put(line("after the move"))
    sink.close(60)
    assert orjson.loads(path.read_bytes())["message"] == "after the move"
    older = path.with_name("gateway.jsonl.1").read_bytes().splitlines()
    assert [orjson.loads(one)["message"][0] for one in older] == ["1"]
    assert path.stat().st_mode & 0o077 == 0


class Disk:
    """Takes `room` bytes of what is written, as a disk that becomes full."""

    def __init__(self, room: int) -> None:
        self.room, self._write = room, os.write

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_a_line_that_a_full_disk_cut_is_finished_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, path = Disk(30), tmp_path / "gateway.jsonl"
    monkeypatch.setattr("frontend.telemetry.logs.local._RETRY_S", 0.01)
    monkeypatch.setattr("frontend.telemetry.logs.local.os.write", disk.write)
    sink = FileSink(path, 10_000, 2, 1000)
    sink.start()
    sink.put(line("cut"))
    wait_for(lambda: disk.room == 0, what="a full disk")
    disk.room = 10_000
    wait_for(lambda: path.read_bytes().endswith(b"\n"), what="the rest of the line")
    sink.put(line("next"))
    sink.close(60)
    shown = [orjson.loads(one)["message"] for one in path.read_bytes().splitlines()]
    assert shown == ["cut", "next"]


def test_a_file_that_is_closed_with_a_full_disk_counts_the_cut_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(30)
    monkeypatch.setattr("frontend.telemetry.logs.local._RETRY_S", 0.01)
    monkeypatch.setattr("frontend.telemetry.logs.local.os.write", disk.write)
    sink = FileSink(tmp_path / "gateway.jsonl", 10_000, 2, 1000)
    lost: list[int] = []
    sink.losses.connect(lost.append)
    sink.start()
    sink.put(line("cut"))
    wait_for(lambda: disk.room == 0, what="a full disk")
    sink.put(line("waits"))
    sink.close(0.2)
    assert sum(lost) == 2


def test_a_full_pipe_stops_nobody_and_counts(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    sink = StreamSink("stdout", writer, 3, is_text=True)
    lost: list[int] = []
    sink.losses.connect(lost.append)
    sink.start()
    while not lost:
        sink.put(line("x" * 70_000))
    os.close(reader)
    sink.close(60)
    os.close(writer)
    assert lost


@pytest.mark.parametrize("field", ["log_elastic_url", "log_splunk_url", "log_loki_url"])
def test_a_url_with_credentials_is_refused_without_being_shown(field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        LogSettings.model_validate({field: "https://user:canary@host:1"})
    assert "without a user" in refusal.value.errors()[0]["msg"]


def test_a_token_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("two words\n")
    with pytest.raises(ValidationError, match="one token"):
        LogSettings.model_validate({"log_splunk_token_file": file})
    file.write_text("secret\n")
    settings = LogSettings.model_validate({"log_splunk_token_file": file})
    assert settings.token("splunk") == "secret"
