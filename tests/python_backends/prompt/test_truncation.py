"""Prompts beyond their context: shortened from the oldest message where the request wants that."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from python_backends.errors import ContextOverflow, InvalidInput
from python_backends.prompt.rendering import Renderer
from python_backends.prompt.truncation import Truncation, rest_from, shorten
from tests.support.weights import write_chat_tokenizer

LIMIT = 256
STRICT = (
    "{% set first = messages | rejectattr('role', 'equalto', 'system') | first %}"
    "{% if first.role == 'assistant' %}{{ raise_exception('users begin') }}{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{# image tools #}"
)
ASKED = {"truncate": {"reply": 64, "keep": 4}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_chat_tokenizer(folder, STRICT)
    return folder


@pytest.fixture(scope="module")
def renderer(folder: Path) -> Renderer:
    return Renderer.load(folder, context_length=LIMIT)


@pytest.fixture(scope="module")
def decode(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder).decode


def talk(count: int, words: int = 3) -> list[dict[str, Any]]:
    roles = ["user", "assistant"] * count
    said = [{"role": roles[n], "content": " ".join([f"m{n}"] * words)} for n in range(count)]
    return [{"role": "system", "content": "be brief"}, *said]


def test_what_fits_stays_whole(renderer: Renderer) -> None:
    messages = talk(2)
    whole = renderer.render({"messages": messages}).tolist()
    assert renderer.render({"messages": messages, **ASKED}).tolist() == whole


@pytest.mark.parametrize("count", [13, 14, 31])
def test_the_oldest_messages_go_first(renderer: Renderer, decode: Any, count: int) -> None:
    messages = talk(count)
    with pytest.raises(ContextOverflow):
        renderer.render({"messages": messages})
    ids = renderer.render({"messages": messages, **ASKED}).tolist()
    assert len(ids) <= LIMIT - 64
    text = decode(ids)
    assert "be brief" in text
    assert f"m{count - 1} m{count - 1}" in text
    shown = [n for n in range(count) if f"m{n} " in text]
    assert shown == list(range(shown[0], count)), "the newest, without a gap"
    assert shown[0] % 2 == 0, "the template wants a user's message first"
    one_more = rest_from(messages, shown[0] - 1)
    with_it = renderer.encode(renderer._chat({"messages": one_more}), False)
    assert len(with_it) > LIMIT - 64, "as many as fit"


def test_a_result_never_loses_its_call(renderer: Renderer, decode: Any) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns: list[dict[str, Any]] = [{"role": "user", "content": "start " * 60}]
    for number in range(6):
        turns += [
            {"role": "user", "content": f"u{number}"},
            {"role": "assistant", "content": f"a{number}", "tool_calls": [call]},
            {"role": "tool", "content": f"t{number} t{number}"},
        ]
    text = decode(renderer.render({"messages": turns, **ASKED}).tolist())
    for number in range(6):
        if f"t{number} " in text:
            assert f"a{number}" in text
    assert "t5 t5" in text


def test_a_last_message_that_is_too_long_loses_its_beginning(
    renderer: Renderer, decode: Any
) -> None:
    long = " ".join(f"w{n}" for n in range(5000))
    ids = renderer.render({"messages": [*talk(4), {"role": "user", "content": long}], **ASKED})
    assert len(ids) == LIMIT - 64
    text = decode(ids.tolist())
    assert "w4999" in text
    assert "w0 " not in text
    assert text.startswith("<|im_start|>"), "the first tokens are kept"


def test_texts_and_earlier_tokens_lose_what_stands_behind_their_beginning(
    renderer: Renderer,
) -> None:
    long = " ".join(f"w{n}" for n in range(5000))
    ids = renderer.render({"text": long, **ASKED}).tolist()
    whole = renderer.encode(long, True)
    assert ids == whole[:4] + whole[-(LIMIT - 64 - 4) :]
    earlier = [5, 6, 7] * 100
    messages = [{"role": "user", "content": "hi"}]
    ids = renderer.render({"messages": messages, "prefix_token_ids": earlier, **ASKED}).tolist()
    assert len(ids) == LIMIT - 64
    assert ids[:4] == earlier[:4]


def test_images_never_lose_their_place(renderer: Renderer) -> None:
    seen = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a" * 10}]}
    with pytest.raises(ContextOverflow):
        renderer.render({"messages": [seen, *talk(30)[1:]], **ASKED})


def test_a_request_may_want_less_context(renderer: Renderer) -> None:
    messages = talk(4)
    assert len(renderer.render({"messages": messages, "context_length": LIMIT * 2})) < LIMIT
    with pytest.raises(ContextOverflow) as refused:
        renderer.render({"messages": messages, "context_length": 48})
    assert refused.value.limit == 48
    ids = renderer.render(
        {"messages": messages, "context_length": 48, "truncate": {"reply": 8, "keep": 0}}
    )
    assert len(ids) <= 40


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"context_length": 0}, "context_length"),
        ({"context_length": "9"}, "context_length"),
        ({"truncate": True}, "truncate"),
        ({"truncate": {"reply": 1}}, "truncate"),
        ({"truncate": {"reply": 1, "keep": -1}}, "truncate"),
        ({"truncate": {"reply": 1, "keep": 1, "x": 1}}, "truncate"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    renderer: Renderer, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        renderer.render({"messages": talk(1), **fields})
    assert refused.value.param == param


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=14),
    st.integers(0, 80),
    st.integers(0, 80),
    st.integers(2, 300),
)
def test_whatever_is_asked_for_fits(
    renderer: Renderer, words: list[int], reply: int, keep: int, context: int
) -> None:
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": " ".join([f"m{n}"] * count)}
        for n, count in enumerate(words)
    ]
    bounds = {"context_length": context, "truncate": {"reply": reply, "keep": keep}}
    ids = renderer.render({"messages": messages, **bounds})
    assert 0 < len(ids) < min(context, LIMIT)


@given(st.lists(st.sampled_from(["user", "assistant", "tool", "system"]), min_size=1, max_size=12))
def test_no_point_is_missed(roles: list[str]) -> None:
    messages = [{"role": role, "content": str(n)} for n, role in enumerate(roles)]
    most = len(messages) // 2

    def fit(some: Any) -> list[int] | None:
        ids = [int(one["content"]) for one in some]
        return ids if len(ids) <= most else None

    found = shorten(messages, fit)
    points = [n for n, role in enumerate(roles) if role not in ("tool", "system")]
    fitting = [rest_from(messages, n) for n in points or [len(roles) - 1]]
    expected = [[int(m["content"]) for m in some] for some in fitting if len(some) <= most]
    assert found == (expected[0] if expected else None)


def test_a_cut_is_never_more_than_it_may_be() -> None:
    truncation = Truncation.read({"reply": 3, "keep": 100}, 10)
    assert truncation is not None
    assert truncation.cut(list(range(20))) == [0, 1, 2, 3, 4, 5, 19]
    assert truncation.cut([1, 2]) == [1, 2]
