"""Ids and texts of the prompt step, as the tokenizer's own library has them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends.errors import ContextOverflow, InvalidInput
from python_backends.prompt.rendering import Renderer
from tests.support.weights import write_chat_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_chat_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def renderer(folder: Path) -> Renderer:
    return Renderer.load(folder, context_length=16)


@given(text=st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable()))
def test_ids_strings_and_text_are_the_tokenizers_own(
    renderer: Renderer, folder: Path, text: str
) -> None:
    from transformers import AutoTokenizer  # seconds

    own: Any = AutoTokenizer.from_pretrained(folder)
    answer = renderer.answer({"text": text, "tokenize": "strings"})
    ids = answer["token_ids"].tolist()
    assert ids == own(text)["input_ids"]
    assert [one.decode() for one in answer["text"]] == own.convert_ids_to_tokens(ids)
    assert renderer.answer({"decode": ids})["text"][0].decode() == own.decode(ids)


def test_a_prompt_that_is_only_counted_may_fill_the_context(renderer: Renderer) -> None:
    full = {"text": "a b c d e f g h i j k l m n o p q r s t u"}
    with pytest.raises(ContextOverflow):
        renderer.answer(full)
    assert set(renderer.answer({**full, "tokenize": "ids"})) == {"token_ids"}


def test_messages_get_special_tokens_on_request(renderer: Renderer) -> None:
    prompt = {"messages": [{"role": "user", "content": "a"}], "tokenize": "ids"}
    plain = renderer.answer(prompt)["token_ids"].tolist()
    assert renderer.answer({**prompt, "add_special_tokens": False})["token_ids"].tolist() == plain


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        ({"decode": [-1]}, "tokens"),
        ({"decode": [10**6]}, "tokens"),
        ({"decode": "a"}, "tokens"),
        ({"decode": [1], "tokenize": "ids"}, "tokenize"),
        ({"decode": [1], "text": "a"}, "prompt"),
        ({"text": "a", "tokenize": True}, "tokenize"),
    ],
)
def test_anything_else_is_refused(renderer: Renderer, prompt: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        renderer.answer(prompt)
    assert refusal.value.param == param
