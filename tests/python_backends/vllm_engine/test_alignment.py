"""Log probabilities join to the content, whatever else the engine wrote."""

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends.vllm_engine.alignment import LogprobAligner, Token

ADDED = {900: b"<|im_end|>", 901: b"<think>", 902: b"</think>", 903: b"<tool_call>"}


def token(spelled: bytes | str, number: int = 1) -> Token:
    raw = spelled if isinstance(spelled, bytes) else spelled.encode()
    return {"token": raw.decode(errors="replace"), "id": number, "bytes": list(raw), "logprob": -1}


def added(number: int) -> Token:
    return token(ADDED[number], number)


@dataclass
class Story:
    """Feeds a speller piece by piece; `joined` is what its tokens spell."""

    speller: LogprobAligner
    tokens_out: list[Token]

    @classmethod
    def begin(cls, *, reads: bool = False) -> "Story":
        return cls(LogprobAligner(ADDED.__contains__, reads=reads), [])

    def take(self, tokens: list[Token], text: str = "", **more: Any) -> "Story":
        options = {"apart": False, "ended": None, "stopped": False, **more}
        self.tokens_out += self.speller.take(tokens, text, **options)
        return self

    @property
    def joined(self) -> bytes:
        return b"".join(bytes(one["bytes"]) for one in self.tokens_out)


def test_what_ends_an_answer_is_no_part_of_it() -> None:
    story = Story.begin().take([token(" Paris")], " Paris").take([added(900)], "", ended="stop")
    assert story.joined == b" Paris"
    assert len(story.tokens_out) == 1


def test_special_tokens_that_a_text_leaves_out_are_left_out() -> None:
    story = Story.begin().take([token("a"), added(903), token("b")], "ab", ended="length")
    assert story.joined == b"ab"


def test_special_tokens_that_a_text_shows_are_shown() -> None:
    story = Story.begin().take([token("a"), added(903)], "a<tool_call>", ended="length")
    assert story.joined == b"a<tool_call>"


def test_a_stop_string_takes_its_tokens_along() -> None:
    story = Story.begin().take([token("one"), token(" tw")], "one")  # text is held back
    story.take([token("o, th")], " t", ended="stop", stopped=True)
    assert story.joined == b"one t"
    assert story.tokens_out[-1]["token"] == " t"


def test_half_a_character_at_a_limit_is_kept() -> None:
    story = Story.begin().take([token("a"), token(b"\xf0\x9f")], "a", ended="length")
    assert story.joined == b"a\xf0\x9f"


def test_a_text_may_lose_the_blank_before_its_first_word() -> None:
    story = Story.begin().take([token(" a"), token(" b")], "a b", ended="stop")
    assert story.joined == b"a b"


def test_thoughts_are_no_content() -> None:
    story = Story.begin(reads=True)
    story.take([added(901), token("the")], "", apart=True)
    story.take([token(" end")], "", apart=True)
    story.take([added(902), token("\n\n")], "")
    story.take([token("the")], "the").take([token(" answer")], " answer")
    story.take([added(900)], "", ended="stop")
    assert story.joined == b"the answer"
    assert len(story.tokens_out) == 2


def test_content_in_the_same_step_as_thoughts_is_content() -> None:
    story = Story.begin(reads=True)
    story.take([token("so"), added(902), token("so"), token(" yes")], "so yes", apart=True)
    assert story.joined == b"so yes"
    assert len(story.tokens_out) == 2


def test_calls_are_no_content() -> None:
    story = Story.begin(reads=True).take([token("Sure.")], "Sure.")
    story.take([added(903)], "").take([token('{"name"')], "", apart=True)
    story.take([token("}")], "", apart=True, ended="stop")
    assert story.joined == b"Sure."


@given(st.data())
def test_tokens_join_to_any_text(data: st.DataObject) -> None:
    text = data.draw(st.text(max_size=40))
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=12)) | {0, len(raw)})
    tokens = [token(raw[a:b]) for a, b in itertools.pairwise(cuts)]
    for place in data.draw(st.lists(st.integers(0, len(tokens)), max_size=3)):
        tokens.insert(place, added(901))  # left out of the text
    tokens.append(added(900))
    taken, said = 0, 0
    story = Story.begin()
    while taken < len(tokens):
        step = data.draw(st.integers(1, 4))
        end = min(len(tokens), taken + step)
        last = end == len(tokens)
        decoded = b"".join(bytes(t["bytes"]) for t in tokens[:end] if t["id"] == 1)
        shown = len(text) if last else min(len(decoded.decode(errors="ignore")), len(text))
        shown = max(said, shown if last else shown - data.draw(st.integers(0, 2)))
        story.take(tokens[taken:end], text[said:shown], ended="stop" if last else None)
        taken, said = end, shown
    assert story.joined == raw


@pytest.mark.parametrize("reads", [False, True])
@given(st.lists(st.tuples(st.binary(max_size=4), st.text(max_size=3), st.booleans()), max_size=9))
def test_nothing_breaks_it(reads: bool, steps: list[tuple[bytes, str, bool]]) -> None:
    story = Story.begin(reads=reads)
    for spelled, text, apart in steps:
        story.take([token(spelled)], text, apart=apart)
    story.take([added(900)], "", ended="stop")
    assert len(story.tokens_out) <= len(steps) + 1
