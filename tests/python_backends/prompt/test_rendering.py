"""Prompts: messages, text or ids, every field honoured or refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from python_backends.errors import InvalidInput
from python_backends.prompt.metered import Limits
from python_backends.prompt.rendering import Renderer
from python_backends.prompt.tools import as_text
from tests.support.weights import write_chat_tokenizer


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_chat_tokenizer(folder)
    return Renderer.load(folder, context_length=64)


def chat(*contents: Any, **fields: Any) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(contents)
    messages = [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=False)
    ]
    return {"messages": messages, **fields}


def same(renderer: Renderer, prompt: dict[str, Any], text: str) -> None:
    expected = renderer.render({"text": text, "add_special_tokens": False})
    assert renderer.render(prompt).tolist() == expected.tolist()


def test_messages_go_through_the_template(renderer: Renderer) -> None:
    assert renderer.render(chat("hi")).dtype == np.int32
    same(renderer, chat("hi"), "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    same(
        renderer,
        chat("hi", add_generation_prompt=False),
        "<|im_start|>user\nhi<|im_end|>\n",
    )
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    same(renderer, chat(parts), "<|im_start|>user\na\nb<|im_end|>\n<|im_start|>assistant\n")


def test_a_final_message_is_continued(renderer: Renderer) -> None:
    same(
        renderer,
        chat("hi", "yes, b", continue_final_message=True),
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes, b",
    )


def test_tools_and_template_arguments_reach_the_template(renderer: Renderer) -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    same(
        renderer,
        chat("hi", tools=tools, chat_template_kwargs={"shout": True}),
        "tools: look\n<|im_start|>user\nHI<|im_end|>\n<|im_start|>assistant\n",
    )


def test_text_and_ids_pass(renderer: Renderer) -> None:
    assert renderer.render({"token_ids": [5, 6, 7]}).tolist() == [5, 6, 7]
    with_special = renderer.render({"text": "hi"}).tolist()
    without = renderer.render({"text": "hi", "add_special_tokens": False}).tolist()
    assert with_special[1:] == without, "the tokenizer begins texts with a token of its own"


@pytest.mark.parametrize(
    ("prompt", "words", "param"),
    [
        ({}, "none of 'messages', 'text', 'token_ids'", "prompt"),
        ({"text": "a", "token_ids": [1]}, "send exactly one", "prompt"),
        ({"text": "a", "tools": []}, "unknown field 'tools' next to 'text'", "tools"),
        ({"text": 5}, "must be a string", "prompt"),
        ({"text": ""}, "unknown field|empty", "prompt"),
        ({"messages": []}, "at least one message", "messages"),
        ({"messages": [5]}, "message 0", "messages[0]"),
        ({"messages": [{"content": "x"}]}, "'role'", "messages[0]"),
        ({"token_ids": [1, -1]}, "integers from 0", "prompt"),
        ({"token_ids": [True]}, "integers from 0", "prompt"),
        ({"token_ids": [10**9]}, "integers from 0", "prompt"),
        (chat("a", chat_template_kwargs={"chat_template": "x"}), "cannot be set", None),
        (chat([{"type": "image_url"}]), "only text parts", "messages"),
        (chat(["x"]), "only text parts", "messages"),
        (chat("FAIL"), "no such thing", "messages"),
        (chat("a", add_generation_prompt=1), "must be true or false", "add_generation_prompt"),
    ],
)
def test_refusals(
    renderer: Renderer, prompt: dict[str, Any], words: str, param: str | None
) -> None:
    if prompt.get("text") == "":
        prompt = {**prompt, "add_special_tokens": False}
    with pytest.raises(InvalidInput, match=words) as caught:
        renderer.render(prompt)
    if param is not None:
        assert caught.value.param == param


def test_a_prompt_that_fills_the_context_is_refused(renderer: Renderer) -> None:
    assert len(renderer.render({"token_ids": [1] * 63})) == 63
    with pytest.raises(InvalidInput, match="has 64 tokens") as caught:
        renderer.render({"token_ids": [1] * 64})
    assert caught.value.code == "context_length_exceeded"


def test_a_template_cannot_leave_its_sandbox(tmp_path: Path) -> None:
    write_chat_tokenizer(tmp_path, template="{{ ''.__class__.__mro__[1].__subclasses__() }}")
    renderer = Renderer.load(tmp_path, context_length=64)
    with pytest.raises(InvalidInput, match="template"):
        renderer.render(chat("hi"))


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "ü"}'}}
WITH_RESULTS = [
    {"role": "user", "content": "look"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    {"role": "tool", "tool_call_id": "c2", "content": "a dog"},
]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
PLAIN = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
)
TAUGHT = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for message in messages %}"
    "{{ message.role }}:{{ message.content }}{% for call in message.tool_calls %}"
    "{{ call.function.arguments.at }}{% endfor %};{% endfor %}"
)


def with_template(folder: Path, template: str) -> Renderer:
    write_chat_tokenizer(folder, template)
    return Renderer.load(folder, context_length=4096)


def test_a_template_that_knows_tools_gets_them_with_arguments_as_objects(tmp_path: Path) -> None:
    taught = with_template(tmp_path, TAUGHT)
    said = '[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]'
    text = f"{said}user:look;assistant:ü;tool:a cat;tool:a dog;"
    same(taught, {"messages": WITH_RESULTS, "tools": [TOOL]}, text)


def test_a_template_that_knows_no_tools_is_told_of_them_in_words(tmp_path: Path) -> None:
    plain = with_template(tmp_path, PLAIN)
    ids = plain.render({"messages": WITH_RESULTS, "tools": [TOOL]})
    text = with_template_text(tmp_path, ids)
    system, user, called, results = text.split("<|im_end|>\n")[:4]
    assert system.startswith("<|im_start|>system\n")
    assert '{"name": "look", "parameters": {"type": "object"}}' in system
    assert user == "<|im_start|>user\nlook"
    assert called.endswith('<tool_call>\n{"name": "look", "arguments": {"at": "ü"}}\n</tool_call>')
    assert results == (
        "<|im_start|>user\n<tool_response>\na cat\n</tool_response>\n"
        "<tool_response>\na dog\n</tool_response>"
    )


def test_tools_are_added_to_a_system_message_that_is_there(tmp_path: Path) -> None:
    plain = with_template(tmp_path, PLAIN)
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "x"}]
    text = with_template_text(tmp_path, plain.render({"messages": messages, "tools": [TOOL]}))
    assert text.startswith("<|im_start|>system\nbe brief\n\nYou can call functions.")
    assert text.count("<|im_start|>") == 2


def test_parts_stay_parts_where_tools_are_told_in_words() -> None:
    seen = {"type": "image"}, {"type": "text", "text": "seen"}
    conversation: list[dict[str, Any]] = [
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "assistant", "content": [*seen], "tool_calls": [CALL]},
        {"role": "tool", "content": [*seen]},
        {"role": "tool", "content": "a dog"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
    ]
    system, called, results, bare = as_text(conversation, [TOOL])
    assert system["content"][0]["text"] == "be brief"
    assert system["content"][1] == {"type": "text", "text": "\n\n"}
    assert called["content"][:2] == [*seen]
    assert called["content"][-1]["text"].startswith("<tool_call>\n{")
    assert "".join(part.get("text", "[image]") for part in results["content"]) == (
        "<tool_response>\n[image]seen\n</tool_response>\n<tool_response>\na dog\n</tool_response>"
    )
    assert bare["content"].startswith("<tool_call>\n{")


def with_template_text(folder: Path, ids: Any) -> str:
    from transformers import AutoTokenizer

    return str(AutoTokenizer.from_pretrained(folder).decode(ids))


@pytest.mark.parametrize("arguments", ["{", "[1]", 5])
def test_calls_whose_arguments_are_no_object_are_refused(
    arguments: Any, renderer: Renderer
) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    with pytest.raises(InvalidInput, match="arguments of a call of 'f'"):
        renderer.render({"messages": [{"role": "assistant", "content": "", "tool_calls": [call]}]})


def test_reasoning_effort_is_a_level_a_switch_or_refused(tmp_path: Path) -> None:
    levels = with_template(tmp_path / "a", "{{ reasoning_effort }}{{ messages[0].content }}")
    same(levels, chat("!", reasoning_effort="high"), "high!")
    switch = with_template(tmp_path / "b", "{% if enable_thinking %}on{% endif %}off")
    same(switch, chat("!", reasoning_effort="low"), "onoff")
    same(switch, chat("!", reasoning_effort="none"), "off")
    neither = with_template(tmp_path / "c", PLAIN)
    neither.render(chat("!", reasoning_effort="none"))
    with pytest.raises(InvalidInput, match="does not support it"):
        neither.render(chat("!", reasoning_effort="low"))


LIMITS = Limits(text_bytes=2000, template_operations=3000, template_kwargs_bytes=100)


def limited(folder: Path, template: str) -> Renderer:
    write_chat_tokenizer(folder, template)
    return Renderer.load(folder, context_length=4096, limits=LIMITS)


def beyond(renderer: Renderer, words: str, prompt: dict[str, Any]) -> str | None:
    with pytest.raises(InvalidInput, match=words) as caught:
        renderer.render(prompt)
    return caught.value.param


def test_text_beyond_its_bytes_is_refused_before_it_is_tokenized(tmp_path: Path) -> None:
    limited_one = limited(tmp_path, PLAIN)
    unused = dataclasses.replace(limited_one, encode=lambda *_: pytest.fail("tokenized"))
    words = "has 2001 bytes of text, more than the model's maximum of 2000"
    assert beyond(unused, words, {"text": "x" * 2001}) == "prompt"
    assert beyond(unused, words, chat("hi", "x" * 2001)) == "messages[1].content"
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "x" * 2001}]
    assert beyond(unused, words, chat(parts)) == "messages[0].content"
    assert beyond(unused, "more than 2000 bytes", chat(*["x" * 500] * 5)) == "messages"


def test_a_prompt_that_is_too_long_is_refused_however_long_it_is(tmp_path: Path) -> None:
    renderer = with_template(tmp_path, PLAIN)
    words = "more than 4096 tokens, which leaves no room for a reply in the model's context of 4096"
    assert beyond(renderer, words, {"text": "word " * 100_000}) == "prompt"
    assert beyond(renderer, words, chat("word " * 100_000)) == "messages"


def test_a_long_text_has_the_tokens_around_it_that_a_short_one_has(tmp_path: Path) -> None:
    write_chat_tokenizer(tmp_path)
    renderer = Renderer.load(tmp_path, context_length=100_000)
    assert (
        renderer.render({"text": "word " * 5000}).tolist()[:2]
        == renderer.render({"text": "word "}).tolist()[:2]
    )


def test_rendering_ends_at_its_bounds(tmp_path: Path) -> None:
    squared = (
        "{% for a in messages %}{% for b in messages %}{{ b.role[:0] }}{% endfor %}{% endfor %}"
    )
    renderer = limited(tmp_path / "a", squared + "x")
    assert len(renderer.render(chat(*["x"] * 10)))
    assert beyond(renderer, "takes too long", chat(*["x"] * 200)) == "messages"
    same(renderer, chat("x"), "x")
    silent = "{% for a in messages %}{% for b in messages %}{% if b.role == 1 %}{% endif %}"
    silent += "{% endfor %}{% endfor %}x"
    assert beyond(limited(tmp_path / "b", silent), "takes too long", chat(*["x"] * 200))


def test_a_value_that_a_template_repeats_is_bounded(tmp_path: Path) -> None:
    repeating = "{% for message in messages %}{{ bos_token }}{{ message.content }}{% endfor %}"
    renderer = limited(tmp_path, repeating)
    many = chat(*["x"] * 60, chat_template_kwargs={"bos_token": "y" * 60})
    assert beyond(renderer, "prompt of more than 2000 bytes", many) == "messages"
    large = chat("x", chat_template_kwargs={"bos_token": "y" * 101})
    assert beyond(renderer, "more than 100 bytes", large) == "chat_template_kwargs"


def test_a_template_that_complains_at_length_is_cut_short(tmp_path: Path) -> None:
    renderer = with_template(tmp_path, "{{ raise_exception(messages[0].content) }}")
    with pytest.raises(InvalidInput, match="rejected the messages: x") as caught:
        renderer.render(chat("x" * 10_000))
    assert len(caught.value.message) <= 500
