"""Scripts are pure: the same request always has the same events."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends.echo.paint import png
from python_backends.echo.script import events, last_text, read_script, split
from python_backends.errors import InvalidInput


def play(prompt: dict[str, Any], sampling: dict[str, Any]) -> list[dict[str, Any]]:
    return list(events(read_script(prompt, sampling), prompt, sampling))


@given(st.text(), st.none() | st.integers(1, 50))
def test_pieces_join_to_the_text(text: str, chunks: int | None) -> None:
    pieces = split(text, chunks)
    if text:
        assert "".join(pieces) == text
    if chunks is not None:
        assert len(pieces) == chunks


def test_plain_text_comes_back_word_by_word() -> None:
    found = play({"messages": [{"role": "user", "content": "one two three"}]}, {"n": 2})
    assert [event["index"] for event in found] == [0, 1] * 3
    assert "".join(event["text"] for event in found if event["index"] == 1) == "one two three"
    assert found[-1]["finish_reason"] == "stop"
    assert found[-1]["usage"] == {
        "prompt_tokens": 3,
        "cached_tokens": 0,
        "completion_tokens": 3,
    }


def test_length_and_stop_end_a_reply() -> None:
    found = play({"text": "a b c d"}, {"max_tokens": 2})
    assert [event["finish_reason"] for event in found] == [None, "length"]
    found = play({"text": "a b END c"}, {"stop": ["zzz", "END"]})
    assert "".join(event["text"] for event in found) == "a b "
    assert (found[-1]["finish_reason"], found[-1]["stop_reason"]) == ("stop", "END")


def test_an_empty_reply_still_ends() -> None:
    assert [event["finish_reason"] for event in play({"text": ""}, {})] == ["stop"]


def test_a_script_is_the_last_message_or_a_parameter() -> None:
    script = {"chunks": 3, "text": "abc", "finish_reason": "length"}
    by_message = play({"messages": [{"role": "user", "content": json.dumps(script)}]}, {})
    by_parameter = play({"text": "hello"}, {"script": script})
    assert [event["text"] for event in by_message] == ["a", "b", "c"]
    assert [event["text"] for event in by_parameter] == ["a", "b", "c"]
    assert by_message[-1]["finish_reason"] == "length"
    with pytest.raises(InvalidInput, match="unknown script field 'chunk'"):
        play({"text": '{"chunk": 1}'}, {})


def test_echo_shows_what_arrived() -> None:
    prompt, sampling = {"text": '{"echo": true}'}, {"temperature": 0.5}
    said = "".join(event["text"] for event in play(prompt, sampling))
    assert json.loads(said) == {"prompt": prompt, "sampling_parameters": sampling}


def test_logprobs_are_as_many_as_asked() -> None:
    for wanted in (0, 1, 3):
        event = play({"text": "é"}, {"logprobs": wanted})[0]
        assert len(event["logprobs"][0]["top"]) == wanted
        assert event["logprobs"][0]["bytes"] == list("é".encode())


def test_parts_of_a_message_are_joined() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert last_text({"messages": [{"content": content}]}) == "ab"


def test_png_is_an_image() -> None:
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(png(5, 7, b"\x01\x02\x03")))
    assert (image.size, image.getpixel((4, 6))) == ((5, 7), (1, 2, 3))
