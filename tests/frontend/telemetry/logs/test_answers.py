"""What sinks answer when they take a part of a batch, or nothing for now; and their secrets."""

import logging
import multiprocessing
import os
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from frontend.settings.logs import LogSettings
from frontend.sinks import make_sinks
from frontend.telemetry.logs.spool import Spool
from tests.frontend.telemetry.logs.test_sinks import KINDS, Disk, line, started
from tests.support.processes import wait_for
from tests.support.sinks import fake_sink


@pytest.fixture(autouse=True)
def brief_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts."""
    monkeypatch.setattr("frontend.telemetry.logs.ship._FIRST_PAUSE_S", 0.02)


def items(*statuses: int) -> tuple[int, Any]:
    """An answer of the bulk API."""
    return 200, {"errors": True, "items": [{"create": {"status": one}} for one in statuses]}


BUSY: dict[str, list[tuple[int, Any]]] = {
    "elastic": [
        items(429, 503),
        (429, {"error": {"type": "circuit_breaking_exception"}}),
        (401, {"error": {"type": "security_exception"}}),
        (403, {"error": {"type": "cluster_block_exception"}}),
        (200, {"took": 1}),
        (200, {"items": [{"create": {"status": 201}}]}),
        (307, None),
    ],
    "splunk": [
        (503, {"text": "Server is busy", "code": 9}),
        (500, {"text": "Internal server error", "code": 8}),
        (401, {"text": "Token is required", "code": 2}),
        (403, {"text": "Invalid token", "code": 4}),
        (400, {"text": "Incorrect index", "code": 7}),
        (400, "no object"),
        (307, None),
    ],
    "loki": [(429, None), (500, None), (503, None), (401, None), (404, None), (307, None)],
}
"""Answers that do not blame the lines: the lines are sent until they are accepted."""


@pytest.mark.parametrize(("kind", "answer"), [(k, a) for k in KINDS for a in BUSY[k]])
def test_what_an_answer_does_not_blame_is_sent_again(
    kind: str, answer: tuple[int, Any], tmp_path: Path
) -> None:
    with fake_sink("fail") as server:
        server.first = [answer, answer]
        sink, lost = started(kind, server, tmp_path)
        sink.put(line("one"))
        sink.put(line("two"))
        wait_for(lambda: server.attempts >= 2, what="a second attempt")
        wait_for(lambda: sink.waiting_bytes > 130, what="both lines on disk")
        server.first, server.mode = [], "accept"
        wait_for(lambda: len(server.messages) >= 2, what="both lines")
        sink.close(60)
    assert (server.messages, sum(lost)) == (["one", "two"], 0)


def test_each_item_of_a_bulk_answer_counts_for_itself(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "elastic", 10**6)
    spool.open()
    for number in range(4):
        spool.append([line(f"line {number}").json])
    spool.close()
    with fake_sink() as server:
        # written, does not fit the mapping, busy, written by an attempt before
        server.first = [items(201, 400, 429, 409)]
        sink, lost = started("elastic", server, tmp_path)
        wait_for(lambda: server.messages, what="the line that was sent again")
        sink.close(60)
    assert server.messages == ["line 2"]
    assert sum(lost) == 1


@pytest.mark.parametrize("kind", ["splunk", "loki"])
def test_a_batch_that_is_refused_is_sent_in_parts_and_good_lines_arrive(
    kind: str, tmp_path: Path
) -> None:
    """Loki says 400 where one line is too old or too long, and has taken the others."""
    spool = Spool(tmp_path / kind, 10**6)
    spool.open()
    spool.append([line("poison" if n in (0, 5, 6) else f"line {n}").json for n in range(9)])
    spool.close()
    with fake_sink() as server:
        sink, lost = started(kind, server, tmp_path)
        wait_for(lambda: sink.waiting_bytes == 0, what="the end of the batch")
        sink.close(60)
    assert server.messages == [f"line {n}" for n in (1, 2, 3, 4, 7, 8)]
    assert sum(lost) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_cut_loses_no_line(kind: str, tmp_path: Path) -> None:
    with fake_sink("cut") as server:
        sink, lost = started(kind, server, tmp_path)
        sink.put(line("one"))
        wait_for(lambda: server.attempts >= 1, what="an attempt")
        server.mode = "accept"
        wait_for(lambda: sink.waiting_bytes == 0 and server.messages, what="the line")
        sink.close(60)
    assert {*server.messages} == {"one"}
    assert sum(lost) == 0


def test_a_sink_with_a_certificate_of_a_stranger_gets_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.issue_cert("127.0.0.1").configure_cert(tls)
    with fake_sink(tls=tls) as server, caplog.at_level(logging.DEBUG):
        settings = LogSettings.model_validate(
            {
                "log_to": "none", "log_ca_file": file, "log_splunk_token": "the-token",
                "log_splunk_url": server.url.replace("http:", "https:"),
            }
        )  # fmt: skip
        (sink,) = make_sinks(settings, tmp_path)
        sink.start()
        sink.put(line("one"))
        wait_for(lambda: "wait on disk" in caplog.text, what="the warning")
        sink.close(0.2)
    assert (server.attempts, server.lines) == (0, [])
    assert sink.waiting_bytes > 0
    assert "the-token" not in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_no_log_line_has_a_token_or_the_words_of_a_sink(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with fake_sink("fail") as server, caplog.at_level(logging.DEBUG):
        server.first = [(403, {"text": "the-token is invalid", "code": 4}), (400, {"code": 6})]
        sink, lost = started(kind, server, tmp_path)
        sink.put(line("one"))
        wait_for(lambda: sum(lost) == 1 or server.attempts > 2, what="the second answer")
        server.mode = "accept"
        wait_for(lambda: sink.waiting_bytes == 0, what="the end of the outage")
        sink.close(60)
    assert "the-token" in server.heads[0][1]["authorization"]
    assert "wait on disk" in caplog.text
    assert "the-token" not in caplog.text


def test_processes_that_start_at_once_have_spools_of_their_own(tmp_path: Path) -> None:
    """Each takes over what ended processes left, and never the folder of one that begins."""
    counts = multiprocessing.get_context("spawn").Pool(4)
    with counts as pool:
        kept = pool.map(_keep_and_end, [(tmp_path, number) for number in range(60)], 1)
    assert kept == [0] * 60
    last = Spool(tmp_path, 10**9)
    last.open()
    found: list[bytes] = []
    while (batch := last.take()) is not None:
        found += batch[1]
        last.replace(batch[0], [])
    last.close()
    assert sorted(found) == sorted(b"%d" % number for number in range(60))


def _keep_and_end(given: tuple[Path, int]) -> int:
    root, number = given
    spool = Spool(root, 10**9)
    spool.open()
    lost = spool.append([b"%d" % number])
    spool.close()
    return lost


def test_a_killed_process_leaves_its_lines_to_the_next_one(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_keep_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with fake_sink() as server:
        sink, lost = started("elastic", server, tmp_path)
        wait_for(lambda: len(server.messages) == 3, what="its lines")
        wait_for(lambda: sink.waiting_bytes == 0, what="an empty spool")
        sink.close(60)
        again, _ = started("elastic", server, tmp_path)
        again.put(line("later"))
        wait_for(lambda: "later" in server.messages, what="the next line")
        again.close(60)
    assert server.messages == ["line 0", "line 1", "line 2", "later"]
    assert sum(lost) == 0


def _keep_and_die(folder: Path) -> None:
    spool = Spool(folder / "elastic", 10**6)
    spool.open()
    spool.append([line(f"line {number}").json for number in range(3)])
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_full_disk_loses_what_does_not_fit_and_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(len(line("kept").json) + 20)
    monkeypatch.setattr("frontend.telemetry.logs.spool.os.write", disk.write)
    with fake_sink("fail") as server:
        sink, lost = started("elastic", server, tmp_path)
        for message in ("kept", "cut!", "none"):
            sink.put(line(message))
        wait_for(lambda: sum(lost) == 2, what="the loss")
        disk.room = 10_000
        sink.put(line("after"))
        wait_for(lambda: sink.waiting_bytes > 150, what="the next line on disk")
        server.mode = "accept"
        wait_for(lambda: len(server.messages) == 2, what="both lines")
        sink.close(60)
    assert server.messages == ["kept", "after"]
    assert sum(lost) == 2


def test_a_spool_at_its_bound_loses_the_newest_lines_and_counts_them(tmp_path: Path) -> None:
    with fake_sink("fail") as server:
        settings = LogSettings.model_validate(
            {"log_to": "none", "log_elastic_url": server.url, "log_spool_bytes": 65_536}
        )
        (sink,) = make_sinks(settings, tmp_path)
        lost: list[int] = []
        sink.losses.connect(lost.append)
        sink.start()
        for number in range(100):
            sink.put(line(f"{number:03d}" + "x" * 1000))
        wait_for(lambda: sum(lost) > 0 and _all_counted(tmp_path, lost, 100), what="the loss")
        assert sink.waiting_bytes <= 65_536
        server.mode = "accept"
        wait_for(lambda: sink.waiting_bytes == 0, what="an empty spool")
        sink.close(60)
    arrived = [int(message[:3]) for message in server.messages]
    assert arrived == [*range(len(arrived))]
    assert len(arrived) + sum(lost) == 100


def _all_counted(folder: Path, lost: list[int], lines: int) -> bool:
    kept = b"".join(one.read_bytes() for one in folder.rglob("*.*") if one.is_file())
    return kept.count(b"\n") + sum(lost) == lines


def test_a_batch_that_a_process_before_had_sent_is_in_elasticsearch_once(tmp_path: Path) -> None:
    with fake_sink() as server:
        for _ in range(2):  # the first process ended before it knew that the sink has the line
            spool = Spool(tmp_path / "elastic", 10**6)
            spool.open()
            spool.append([line("once").json])
            spool.close()
            sink, lost = started("elastic", server, tmp_path)
            wait_for(lambda: sink.waiting_bytes == 0, what="the batch")  # noqa: B023
            sink.close(60)
            assert lost == []
    assert (server.attempts, server.messages) == (2, ["once"])
