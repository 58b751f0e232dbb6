"""What the operator declares of models that this toolkit did not build."""

from pathlib import Path
from typing import Any

import pytest

from frontend.domain.generation import Conversation
from frontend.domain.messages import Message
from frontend.domain.upstreams import ServedModel, TensorNames, UpstreamEntry
from frontend.engines import BadUpstream, Engines
from frontend.errors import InvalidRequest
from frontend.upstreams.triton.plain.templates import FORMATS, ChatTemplate


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"chat_template": "none.jinja"}, "'chat_template' of a is 'none.jinja'"),
        ({"chat_template": "broken.jinja"}, "'chat_template' of a: it is not a chat template"),
        ({"chat_template": "../a"}, "without a folder"),
        ({"tokenizer": "absent.json"}, "'tokenizer' of a: it cannot be read"),
        ({"tensors": TensorNames("v")}, "set one of 'text' and 'ids'"),
        ({"tensors": TensorNames("v", ids="i")}, "'ids' needs a 'tokenizer'"),
    ],
)
async def test_a_wrong_declaration_is_refused_with_its_field(
    fields: dict[str, Any], says: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.jinja").write_text("{% if %}")
    entry = UpstreamEntry("east", "127.0.0.1:9", models=(ServedModel("a", **fields),))
    with pytest.raises(BadUpstream, match="'models' of east") as raised:
        Engines(2.0, files=tmp_path).make(entry)
    assert says in str(raised.value)


async def test_files_need_the_setting_and_a_triton() -> None:
    named = ServedModel("a", tokenizer="t.json")
    with pytest.raises(BadUpstream, match="the setting 'model_files' is empty"):
        Engines(2.0).make(UpstreamEntry("east", "127.0.0.1:9", models=(named,)))
    with pytest.raises(BadUpstream, match="'tokenizer' of a is only for a Triton"):
        Engines(2.0).make(UpstreamEntry("east", "http://h", "vllm", models=(named,)))


TALK = (
    Message("system", "S"),
    Message("user", "U"),
    Message("assistant", "A"),
    Message("user", "B"),
)


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        (
            "chatml",
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant"
            "\nA<|im_end|>\n<|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\n",
        ),
        ("mistral", "[INST] S\n\nU [/INST] A</s>[INST] B [/INST]"),
        (
            "gemma",
            "<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
            "<start_of_turn>user\nB<end_of_turn>\n<start_of_turn>model\n",
        ),
    ],
)
def test_formats_are_those_that_models_were_trained_with(name: str, prompt: str) -> None:
    assert ChatTemplate(FORMATS[name]).render(Conversation(TALK)) == prompt


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no system') }}",
        "{{ messages[0].content + 1 }}",
        "{{ ''.__class__.__mro__ }}",
        "{% for n in range(10 ** 6) %}x{% endfor %}",
    ],
)
def test_a_template_refuses_and_never_escapes(source: str) -> None:
    with pytest.raises(InvalidRequest, match="chat template does not take"):
        ChatTemplate(source).render(Conversation(TALK))


def test_options_do_not_replace_the_messages() -> None:
    prompt = Conversation(TALK, {"messages": []})
    with pytest.raises(InvalidRequest, match=r"chat_template_kwargs\.messages"):
        ChatTemplate(FORMATS["chatml"]).render(prompt)
