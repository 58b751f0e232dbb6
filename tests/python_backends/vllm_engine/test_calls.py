"""Transcripts of the common formats of calls, replayed by a scripted engine in every way.

Cut at each place, and into steps of every size, each is read as the same content, reasoning and
calls. The program beside this runs in the engine's environment, where vLLM's parsers are.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from python_backends.vllm_engine.deferred import MARKS, DeferredText, Marks
from python_backends.vllm_engine.delta import Delta, End, TrimmedReader
from tests.support.processes import ROOT
from toolkit.runtime.environments import ensure_environment

TRANSCRIPTS = sorted((ROOT / "tests" / "golden" / "calls").glob("*.json"))


@pytest.fixture(scope="module")
def wrong() -> dict[str, list[str]]:
    """What was read otherwise than it is meant, by file."""
    python = ensure_environment("vllm") / "bin" / "python"
    command = [
        str(python),
        "-m",
        "tests.python_backends.vllm_engine.read_calls",
        *map(str, TRANSCRIPTS),
    ]
    quiet = {"VLLM_LOGGING_LEVEL": "ERROR", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **quiet, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, check=False, env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    readings: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return readings


@pytest.mark.parametrize("file", TRANSCRIPTS, ids=lambda file: file.stem)
def test_calls_are_read_however_they_are_told(wrong: dict[str, list[str]], file: Path) -> None:
    assert wrong[str(file)] == []


def test_every_format_that_is_held_has_a_transcript() -> None:
    expected = {json.loads(file.read_text())["parser"] for file in TRANSCRIPTS}
    assert set(MARKS) - {"llama4_json"} <= expected


def held(marks: Marks, *texts: str) -> tuple[str, DeferredText]:
    text = DeferredText(marks)
    return "".join(text.take(one) for one in texts), text


@pytest.mark.parametrize(
    ("texts", "expected", "rest"),
    [
        (["a [TOOL"], "a ", "[TOOL"),
        (["a [TOOL", "BOX] b"], "a [TOOLBOX] b", ""),
        (["a [TOOL", "_CALLS] b"], "a ", "[TOOL_CALLS] b"),
        (["[[TOOL_CALLS]x", "y"], "[", "[TOOL_CALLS]xy"),
        ([], "", ""),
    ],
)
def test_text_is_told_until_a_mark(texts: list[str], expected: str, rest: str) -> None:
    content, text = held(Marks(("[TOOL_CALLS]",)), *texts)
    assert (content, text.rest) == (expected, rest)
    assert content + text.release() == "".join(texts)
    assert text.rest == ""


@pytest.mark.parametrize(
    ("texts", "expected", "has_call"),
    [
        (["\n", " {", '"name"'], "", True),
        (["\n", " It is", " {1}"], "\n It is {1}", False),
        (["Look: ", "<|python_tag|>{"], "Look: ", True),
        (["  "], "", False),
    ],
)
def test_a_mark_may_have_to_stand_first(texts: list[str], expected: str, has_call: bool) -> None:
    content, text = held(MARKS["llama3_json"], *texts)
    assert (content, text.has_call) == (expected, has_call)


class Scripted:
    """A reader that tells what it was given."""

    unread = ""

    def __init__(self, *pieces: Delta) -> None:
        self._pieces = list(pieces)

    def read(self, text: str, token_ids: object, *, end: End) -> Delta:
        return self._pieces.pop(0)

    def finish_reason(self, reason: str | None) -> str | None:
        return reason

    def reasoning_tokens(self) -> int:
        return 0


CALL = {"index": 0, "id": "c", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([Delta("\n\n"), Delta("", "", [CALL]), Delta("\n")], ""),
        ([Delta("\n"), Delta("a"), Delta("\n")], "\na\n"),
        ([Delta("a\n"), Delta("\n", "", [CALL]), Delta("\n"), Delta("b")], "a\n\n\nb"),
        ([Delta("\n"), Delta(" ")], "\n "),
        ([Delta("\n", "hm"), Delta("a")], "\na"),
    ],
)
def test_blanks_around_calls_are_no_content(pieces: list[Delta], expected: str) -> None:
    reader = TrimmedReader(Scripted(*pieces))
    ends = [End.NOT_YET] * (len(pieces) - 1) + [End.NATURAL]
    assert "".join(reader.read("", [], end=end).text for end in ends) == expected
