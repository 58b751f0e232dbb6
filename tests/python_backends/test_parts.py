"""What all steps share: errors, settings, tensors, cancellation, replies, the list of files."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends import replies as module
from python_backends import triton
from python_backends.cancellation import MEMORY_COUNT, MEMORY_S, Cancellations
from python_backends.errors import MARKER, InvalidInput, StepError, Unavailable
from python_backends.replies import GAP_S, LONGEST_GAP_S, SHARE_S, Pace, Replies
from python_backends.triton import Settings
from tests.support.fakes import FakeSender, FakeStub, strings
from toolkit.backends import backend_files, backends


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "backend", FakeStub)


@given(st.text(), st.text(), st.none() | st.text())
def test_an_error_carries_itself_in_its_text(message: str, code: str, param: str | None) -> None:
    text = str(InvalidInput(message, code=code, param=param))
    fields = json.loads(text.rpartition(MARKER)[2])
    assert fields == {"code": code, "param": param, "message": message, "status": 400}


def test_statuses_and_triton_codes() -> None:
    assert (StepError("x").status, StepError.triton_code) == (500, "INTERNAL")
    assert (Unavailable("x").status, Unavailable.triton_code) == (503, "UNAVAILABLE")


def test_settings_are_the_configs_parameters() -> None:
    config = {"parameters": {"threads": {"string_value": "3"}, "t": {"string_value": '{"a": 1}'}}}
    settings = Settings.read(
        {
            "model_config": json.dumps(config),
            "model_repository": "/repository/model",
            "model_version": "7",
            "model_name": "m",
        }
    )
    assert settings.number("threads", 1) == 3
    assert settings.number("absent", 1) == 1
    assert settings.table("t") == {"a": 1}
    assert settings.table("absent") == {}
    assert settings.path("model", "model.onnx") == Path("/repository/model/7/model.onnx")


def test_tensors_hold_one_value_or_are_refused() -> None:
    assert triton.text({"a": strings("ü")}, "a") == "ü"
    assert triton.text({}, "a") is None
    assert triton.scalar({"n": np.array([[5]], dtype=np.int32)}, "n") == 5
    with pytest.raises(InvalidInput, match="exactly one"):
        triton.text({"a": strings("x", "y")}, "a")
    with pytest.raises(InvalidInput, match="UTF-8"):
        triton.text({"a": np.array([b"\xff"], dtype=np.object_)}, "a")
    with pytest.raises(InvalidInput, match="not valid JSON"):
        triton.json_object({"a": strings("{")}, "a")
    with pytest.raises(InvalidInput, match="not a JSON object"):
        triton.json_object({"a": strings("[1]")}, "a")
    with pytest.raises(InvalidInput, match="not valid JSON"):
        triton.json_object({"a": strings("[" * 100_000)}, "a")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_cancel_stops_every_request_of_its_id() -> None:
    table, stopped = Cancellations(Clock()), []
    assert table.start("a", lambda: stopped.append(1))
    assert table.start("a", lambda: stopped.append(2))
    assert table.start("b", lambda: stopped.append(3))
    table.cancel("a")
    assert stopped == [1, 2]


def test_an_early_cancel_is_remembered_once_and_for_a_while() -> None:
    clock = Clock()
    table = Cancellations(clock)
    table.cancel("a")
    assert not table.start("a", list)
    assert table.start("a", list)
    table.cancel("b")
    clock.now = MEMORY_S + 1
    assert table.start("b", list)


def test_the_memory_of_early_cancels_is_bounded() -> None:
    table = Cancellations(Clock())
    for number in range(MEMORY_COUNT + 100):
        table.cancel(str(number))
    assert len(table._early) <= MEMORY_COUNT + 1
    assert table.start("0", list), "the oldest was forgotten"
    assert not table.start(str(MEMORY_COUNT + 99), list)


def test_ended_requests_are_forgotten_and_an_empty_id_is_nobodys() -> None:
    table, stopped = Cancellations(Clock()), []

    def stop() -> None:
        stopped.append(1)

    table.start("a", stop)
    table.end("a", stop)
    table.end("a", stop)
    table.start("", stop)
    table.cancel("")
    assert not stopped
    assert not table._running


def test_nothing_is_sent_after_the_end() -> None:
    sender = FakeSender()
    replies = Replies(sender, Pace())
    replies.send_events([{"text": "ü\ud800"}])
    replies.fail(InvalidInput("no"))
    replies.end()
    replies.send_events([{}])
    assert [flags for _, flags in sender.sent] == [0, 1]
    assert sender.sent[1][0].error.code == "INVALID_ARG"
    assert json.loads(sender.sent[0][0].arrays()["event"][0])["text"] == "ü\ud800"


async def test_the_more_streams_the_more_events_travel_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 0.0))  # a long moment
    pace, senders = Pace(), [FakeSender() for _ in range(40)]
    streams = [Replies(sender, pace) for sender in senders]
    assert pace.gap_s == GAP_S
    for replies in streams:
        replies.send_events([{"text": "first"}])
    assert pace.gap_s == pytest.approx(len(streams) * SHARE_S)
    for replies in streams:
        for number in range(5):
            replies.send_events([{"text": str(number)}])
        replies.send_events([{"text": "last"}], final=True)
    assert pace.streams == 0
    for sender in senders:
        first, rest = sender.sent
        assert len(first[0].arrays()["event"]) == 1, "the first goes at once"
        assert len(rest[0].arrays()["event"]) == 6


def test_a_pace_has_its_longest_gap_and_forgets_streams_that_fail() -> None:
    pace = Pace()
    pace.streams = 10_000
    assert pace.gap_s == LONGEST_GAP_S
    pace.streams = 0
    replies = Replies(FakeSender(), pace)
    replies.send_events([{}])
    replies.fail(InvalidInput("no"))
    replies.end()
    assert pace.streams == 0


def test_an_unforeseen_error_makes_no_promise() -> None:
    sender = FakeSender()
    Replies(sender, Pace()).fail(KeyError("secret"))
    assert MARKER not in sender.sent[0][0].error.message


@pytest.mark.parametrize("kind", backends())
def test_a_kind_is_made_of_all_that_it_imports(kind: str) -> None:
    files = backend_files(kind)
    assert all(source.is_file() for source in files.values())
    for source in files.values():
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("python_b"):
                place = str(node.module).replace(".", "/")
                names = [alias.name for alias in node.names]
                wanted = {f"{place}.py"} | {f"{place}/{name}.py" for name in names}
                assert wanted & set(files), f"{source.name} imports {node.module}"


@pytest.mark.parametrize("kind", sorted({*backends()} - {"llmapi"}))  # its code is NVIDIA's
def test_a_step_can_be_imported_without_its_libraries(kind: str) -> None:
    module = importlib.import_module(f"python_backends.{kind}.model")
    assert {"initialize", "execute", "finalize"} >= {
        name for name in vars(module.TritonPythonModel) if not name.startswith("_")
    }


@pytest.mark.parametrize(
    "kind", ["decode", "denoise", "encoder", "prompt", "text_encoder", "tokenize"]
)
def test_a_step_ends_its_process_when_it_is_unloaded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"python_backends.{kind}.model")
    ended: list[str] = []
    monkeypatch.setattr(module, "end_process", lambda: ended.append(kind))
    object.__new__(module.TritonPythonModel).finalize()
    assert ended == [kind]


def test_the_end_of_a_process_keeps_its_output_and_skips_the_teardown() -> None:
    code = (
        "import atexit; from python_backends.triton import end_process;"
        "atexit.register(print, 'teardown'); print('last line', end=''); end_process()"
    )
    # a pipe, so that Python buffers what is printed
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (0, b"last line")
