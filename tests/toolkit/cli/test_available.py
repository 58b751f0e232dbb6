"""`toolkit list-available`: its filters, its columns on a pipe and on a narrow terminal."""

import json
import os
import sys
from pathlib import Path

import pytest

from toolkit.catalogue import catalogue
from toolkit.cli import available
from toolkit.cli.app import main
from toolkit.cli.available import count


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["toolkit", "list-available", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0


def names(text: str) -> list[str]:
    return [line.partition("\t")[0] for line in text.splitlines()[1:]]


def test_a_pipe_gets_one_line_per_model_and_all_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--gpus", "none", "--memory", "16GiB")
    printed = capsys.readouterr().out
    assert names(printed) == list(catalogue())
    assert {line.count("\t") for line in printed.splitlines()} == {9}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("qwen3", "0.6"), ["qwen3-0.6b"]),
        (("REASONING", "moe", "--kind", "llm"), []),
        (("--kind", "rerank", "tiny"), ["ms-marco-tinybert-l2-v2"]),
        (("--offline",), ["smollm2-135m-instruct", "all-minilm-l6-v2"]),
        (("--fits", "llama-3", "--memory", "10GiB", "--gpus", "none"), ["llama-3.2-1b-instruct"]),
    ],
)
def test_filters(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    expected: list[str],
) -> None:
    run(monkeypatch, *arguments)
    told = capsys.readouterr()
    assert names(told.out) == expected
    assert ("no model matches" in told.err) == (not expected)


def test_json_says_whether_weights_are_here(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path))
    run(monkeypatch, "smollm2-135m", "--json", "--memory", "1GiB", "--gpus", "none")
    (row,) = json.loads(capsys.readouterr().out)
    assert row["weights"] == "package"
    assert row["fits"] is False
    assert row["place"] is None
    assert row["need_bytes"] > row["size_bytes"] == 92_871_040


def test_a_narrow_terminal_gets_fewer_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [dict.fromkeys(available._COLUMNS, "x" * 10)]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    shown = {}
    for width in (200, 80, 20):
        size = os.terminal_size((width, 24))
        monkeypatch.setattr(available.shutil, "get_terminal_size", lambda size=size: size)
        shown[width] = available._columns(lines)
    assert shown[200] == list(available._COLUMNS)
    assert "about" not in shown[80]
    assert shown[20][:2] == ["name", "kind"]


def test_counts_are_short() -> None:
    assert [count(each) for each in (7, 4_386_049, 134_515_008, 1_543_714_304)] == [
        "7",
        "4.39M",
        "135M",
        "1.54B",
    ]


def test_a_name_that_is_not_right_is_answered_with_those_like_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "smolm2")
    assert "no model matches; did you mean smollm2-" in capsys.readouterr().err
