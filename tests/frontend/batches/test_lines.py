"""A batch's files: bounds of lines, and answers that are read back."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.batches.lines import (
    MAX_ERRORS,
    LineBounds,
    read_answered,
    read_body,
    read_lines,
)

ENDPOINT = "/v1/embeddings"
BOUNDS = LineBounds(requests=50_000, size_bytes=20 * 2**20, values=300_000, containers=20_000)


def request(name: str, **body: object) -> bytes:
    line = {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": {"model": "m", **body}}
    return json.dumps(line).encode() + b"\n"


def codes(path: Path, content: bytes, bounds: LineBounds = BOUNDS) -> list[str]:
    path.write_bytes(content)
    return [one.code for one in read_lines(path, ENDPOINT, bounds).errors]


def test_as_many_lines_as_are_allowed_and_no_more(tmp_path: Path) -> None:
    path, lines = tmp_path / "in", [request(str(number)) for number in range(50_000)]
    path.write_bytes(b"".join(lines))
    found = read_lines(path, ENDPOINT, BOUNDS)
    assert (len(found.ids), found.errors) == (50_000, [])
    assert json.loads(read_body(path, found.starts[49_999])) == {"model": "m"}
    assert codes(path, b"".join([*lines, request("more")])) == ["too_many_tasks"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (request("a", input="x" * 20 * 2**20), "request_too_large"),
        (request("a", input=["x"] * 300_000), "request_too_large"),
        (request("a", input=[[]] * 30_000), "request_too_large"),
        (b'{"a":' * 100_000, "request_too_large"),
        (b"[" * 19_000 + b"]" * 19_000, "invalid_json_line"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "invalid_json_line"),
        (b"\xff\xfe", "invalid_json_line"),
        (b"PK\x03\x04" + bytes(100_000), "invalid_json_line"),
    ],
)
def test_a_line_beyond_a_bound_is_an_error_and_the_next_is_read(
    tmp_path: Path, line: bytes, code: str
) -> None:
    rest = request("b") + request("b")
    assert codes(tmp_path / "in", line.rstrip() + b"\n" + rest) == [code, "duplicate_custom_id"]


def test_errors_are_bounded(tmp_path: Path) -> None:
    assert codes(tmp_path / "in", b"x\n" * 10_000) == ["invalid_json_line"] * MAX_ERRORS


@pytest.mark.parametrize("content", [b"", b"\n\n \n"])
def test_a_file_without_requests(tmp_path: Path, content: bytes) -> None:
    assert codes(tmp_path / "in", content) == ["empty_file"]


@given(names=st.lists(st.text(max_size=5), unique=True, max_size=6), cut=st.integers(0, 400))
def test_of_a_file_that_was_cut_anywhere_whole_answers_remain(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cut: int
) -> None:
    path = tmp_path_factory.mktemp("out") / "out"
    lines = [json.dumps({"custom_id": name}).encode() + b"\n" for name in names]
    path.write_bytes(b"".join(lines)[:cut])
    answered = read_answered(path)
    whole = [name for n, name in enumerate(names) if len(b"".join(lines[: n + 1])) <= cut]
    assert answered == set(whole)
    assert path.read_bytes() == b"".join(lines[: len(whole)])
