"""Parameters are read with their types and bounds, and paths of images are found in questions."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.chat.client import Piece
from toolkit.chat.conversation import Answer, Conversation, read_tools
from toolkit.chat.images import data_url, take_images
from toolkit.chat.parameters import IMAGE_PARAMETERS, PARAMETERS, read_parameter, request_fields
from toolkit.errors import UsageError


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("temperature", "0", ("temperature", 0.0)),
        ("top_k", "-1", ("top_k", -1)),
        ("num_predict", "5", ("max_tokens", 5)),
        ("repeat_penalty", "1.1", ("repetition_penalty", 1.1)),
        ("stop", r'"\n\n" END', ("stop", ["\n\n", "END"])),
        ("stop", r"é→ \n", ("stop", ["é→", "n"])),
        ("stop", r"'\n'", ("stop", ["\n"])),
        ("think", "off", ("think", False)),
        ("think", "high", ("think", "high")),
        ("format", "json", ("format", {"type": "json_object"})),
        ("seed", "default", ("seed", None)),
    ],
)
def test_a_parameter(name: str, text: str, expected: tuple[str, Any]) -> None:
    assert read_parameter(name, text) == expected


@given(st.sampled_from(sorted(PARAMETERS)), st.text(max_size=40))
def test_any_text_is_read_or_refused_by_name(name: str, text: str) -> None:
    try:
        read, value = read_parameter(name, text)
    except UsageError as error:
        assert f"is not a valid {name}" in error.message  # noqa: PT017
    else:
        assert read == name
        json.dumps(request_fields({} if value is None else {name: value}))


def test_numbers_have_bounds() -> None:
    for name, text in (
        ("temperature", "nan"),
        ("repetition_penalty", "inf"),
        ("top_p", "1.5"),
        ("max_tokens", "0"),
    ):
        with pytest.raises(UsageError):
            read_parameter(name, text)


def test_a_schema_becomes_the_format(tmp_path: Path) -> None:
    file = tmp_path / "city.json"
    file.write_text('{"type": "object"}')
    fields = request_fields(dict([read_parameter("format", str(file))]))
    schema = {"name": "city", "schema": {"type": "object"}}
    assert fields == {"response_format": {"type": "json_schema", "json_schema": schema}}


def test_thinking_is_asked_for_in_the_fields_that_servers_know() -> None:
    assert request_fields({"think": "low"}) == {"reasoning_effort": "low"}
    assert request_fields({"think": True}) == {"chat_template_kwargs": {"enable_thinking": True}}


def test_images_are_found_only_where_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "with space.JPG"):
        (tmp_path / name).write_bytes(b"x")
    text, paths = take_images(r"compare ./a.png and with\ space.JPG with gone.png")
    assert (text, [path.name for path in paths]) == (
        "compare and with gone.png",
        ["a.png", "with space.JPG"],
    )
    assert take_images("no image.txt, a .png") == ("no image.txt, a .png", [])
    assert data_url(tmp_path / "a.png") == "data:image/png;base64,eA=="
    with pytest.raises(UsageError, match="is not an image"):
        data_url(tmp_path / "a.txt")


def test_deltas_of_calls_are_joined() -> None:
    answer = Answer()
    for function in ({"name": "f", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ":1}"}):
        delta = {"index": 1, "id": "call" if "name" in function else None, "function": function}
        answer.add(Piece(calls=[delta]))
    assert answer.calls[1]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert answer.message()["tool_calls"][1]["id"] == "call"


def test_a_question_without_memory_is_sent_alone() -> None:
    talk = Conversation("m", system="s", remembers=False)
    talk.ask("one")
    talk.ask("two")
    assert [each["content"] for each in talk.body()["messages"]] == ["s", "two"]


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for text in ("[]", "{", '{"messages": 3}', '{"messages": [{}]}', "null"):
        file.write_text(text)
        with pytest.raises(UsageError):
            Conversation("m").load(file)
    file.write_text("[1]")
    with pytest.raises(UsageError):
        read_tools(file)


def test_sizes_of_images_are_two_whole_numbers() -> None:
    for text in ("512x256", "512 x 256", "512×256"):
        assert read_parameter("size", text, IMAGE_PARAMETERS) == ("size", "512x256")
    for text in ("0x512", "512", "512x", "-1x5", "512x512x512", "x"):
        with pytest.raises(UsageError, match="not a valid size") as caught:
            read_parameter("size", text, IMAGE_PARAMETERS)
        assert "WIDTHxHEIGHT" in (caught.value.hint or "")
