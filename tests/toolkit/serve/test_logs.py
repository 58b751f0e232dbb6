"""Logs are merged by time, filtered by model, and followed across a rotation."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from toolkit.serve import journal
from toolkit.serve.logs import Followed, Selection, follow, moment_of, read

GATEWAY = "2026-11-26 21:05:3{},466 INFO frontend.access {}\n"


def texts(folder: Path, selection: Selection) -> list[str]:
    return [f"{line.source}: {line.text[-9:]}" for line in read(folder, selection)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    models.mkdir()
    (tmp_path / "gateway.log").write_text(
        GATEWAY.format(1, '{"model":"chat"}') + GATEWAY.format(5, '{"model":"chat-2"}') + "  more\n"
    )
    (tmp_path / "service.log").write_text(GATEWAY.format(3, "ready one"))
    (models / "chat.engine.log").write_text("loading!!\n" + GATEWAY.format(4, "an answer"))
    (models / "chat-2.engine.log").write_text(GATEWAY.format(2, "other one"))
    return tmp_path


def test_lines_of_all_logs_are_in_the_order_of_their_times(folder: Path) -> None:
    assert texts(folder, Selection()) == [
        "chat.engine: loading!!",
        'gateway: ":"chat"}',
        "chat-2.engine: other one",
        "service: ready one",
        "chat.engine: an answer",
        'gateway: "chat-2"}',
        "gateway:   more",
    ]
    assert texts(folder, Selection(count=2)) == ['gateway: "chat-2"}', "gateway:   more"]


def test_lines_about_one_model_are_not_those_of_a_longer_name(folder: Path) -> None:
    about = Selection(models=frozenset({"chat", "chat.engine"}))
    assert texts(folder, about) == [
        "chat.engine: loading!!",
        'gateway: ":"chat"}',
        "chat.engine: an answer",
    ]
    since = moment_of(GATEWAY.format(4, ""))
    assert since is not None
    late = Selection(since_s=since, models=about.models)
    assert texts(folder, late) == ["chat.engine: an answer"]


def test_every_writer_s_times_are_read() -> None:
    now = time.time()
    utc, here = time.gmtime(now), time.localtime(now)
    triton = time.strftime("I%m%d %H:%M:%S.250000 4659 python_be.cc:1] text", utc)
    vllm = time.strftime("(EngineCore pid=1) INFO %m-%d %H:%M:%S [core.py:1] text", here)
    for line in (triton, vllm):
        moment = moment_of(line)
        assert moment is not None
        assert abs(moment - now) <= 1
    assert moment_of("Traceback (most recent call last):") is None
    assert moment_of("I9999 99:99:99.000000 1 x] y") is None


@pytest.mark.parametrize(
    ("now", "line", "then"),
    [
        ("2029-01-10", "I0229 12:00:00.000000 1 x] y", "2028-02-29T12:00"),
        ("2029-03-05", "I0229 12:00:00.000000 1 x] y", "2028-02-29T12:00"),
        ("2029-01-10", "INFO 02-29 12:00:00 [x.py:1] y", "2028-02-29T12:00"),
        ("2029-01-10", "I1231 12:00:00.000000 1 x] y", "2028-12-31T12:00"),
        ("2028-12-31", "INFO 01-01 12:00:00 [x.py:1] y", "2028-01-01T12:00"),
        # it is the new year already where the process runs
        ("2028-12-31T20:00", "INFO 01-01 00:30:00 [x.py:1] y", "2029-01-01T00:30"),
        ("2028-03-01", "I0229 12:00:00.000000 1 x] y", "2028-02-29T12:00"),
    ],
)
def test_a_time_without_a_year_is_the_last_that_has_been(
    monkeypatch: pytest.MonkeyPatch, now: str, line: str, then: str
) -> None:
    today = datetime.fromisoformat(now).timestamp()
    monkeypatch.setattr(time, "time", lambda: today)
    expected = datetime.fromisoformat(then)
    expected = expected.replace(tzinfo=UTC) if line.startswith(("I0", "I1")) else expected
    assert moment_of(line) == expected.timestamp()


def test_following_survives_rotation_and_truncation(folder: Path) -> None:
    followed = Followed(folder, Selection())
    followed.begin()
    log = folder / "gateway.log"
    with log.open("a") as old:
        old.write("before rot")
        old.flush()
        assert followed.read() == [], "a line that is being written"
        log.rename(folder / "gateway.log.1")
        old.write("ation\n")
    log.write_text("after rotation\n")
    assert [line.text for line in followed.read()] == ["before rotation", "after rotation"]
    log.write_text("short\n")
    assert [line.text for line in followed.read()] == ["short"]
    (folder / "models" / "new.log").write_text("a new model\n")
    assert [(line.source, line.text) for line in followed.read()] == [("new", "a new model")]
    followed.close()


def test_following_ends_with_the_service_and_misses_no_line(folder: Path) -> None:
    followed = Followed(folder, Selection())
    followed.begin()
    alive = iter([True, False])

    def running() -> bool:
        journal.write(folder / journal.FILE, "one more")
        return next(alive)

    assert len(list(follow(followed, running))) == 2
    followed.close()
