"""Ollama's requests as canonical ones, and events as its answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.ollama.answers import OllamaReply
from frontend.dialects.ollama.embed import parse_embed
from frontend.dialects.ollama.models import (
    capabilities,
    full_name,
    render_running,
    render_show,
    render_tags,
)
from frontend.dialects.ollama.requests import (
    OllamaCall,
    check_abilities,
    fit_context,
    parse_chat,
    parse_generate,
)
from frontend.domain.events import Event
from frontend.domain.models import Details, Model
from frontend.domain.usage import Usage
from frontend.errors import InvalidRequest
from frontend.upstreams.names import spellings
from frontend.upstreams.triton.contract import write_prompt, write_reply, write_sampling

PIXEL = "iVBORw0KGgo="
MODEL = Model(
    name="my-chat",
    kind="llm",
    aliases=("mine",),
    capabilities=frozenset({"chat", "completion", "tools"}),
    context_length=2048,
    dimensions=None,
    image=None,
    owned_by="me",
    created_s=0,
    details=Details("llama", 134_515_008, 269_060_552, "BF16", "ab" * 32),
)


def chat(**fields: Any) -> OllamaCall:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    return parse_chat(body | fields, 10)


def sampling(**options: Any) -> dict[str, Any]:
    call = chat(options=options)
    assert call.generation is not None
    return write_sampling(call.generation)


def refused(call: Any, *arguments: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments)
    return caught.value


def test_options_are_mapped_one_by_one() -> None:
    assert sampling(
        temperature=0.5,
        top_p=0.9,
        min_p=0.1,
        top_k=40,
        seed=7,
        num_predict=12,
        repeat_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=0.25,
        stop=["\n", "user:"],
    ) == {
        "temperature": 0.5,
        "top_p": 0.9,
        "min_p": 0.1,
        "top_k": 40,
        "seed": 7,
        "max_tokens": 12,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
        "stop": ["\n", "user:"],
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_predict": -1}, {}),
        ({"num_predict": -2}, {}),
        ({"top_k": 0}, {"top_k": -1}),
        ({"top_p": 0}, {"top_k": 1}),
        ({"repeat_penalty": 1.1, "repeat_last_n": 0}, {}),
        ({"stop": ""}, {}),
        ({"mirostat": 0, "tfs_z": 1.0, "typical_p": 1.0}, {}),
    ],
)
def test_what_turns_an_option_off(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sampling(**options) == expected


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"mirostat": 2}, "options.mirostat"),
        ({"typical_p": "none"}, "options.typical_p"),
        ({"temperature": "hot"}, "options.temperature"),
        ({"num_predict": 1.5}, "options.num_predict"),
        ({"embedding_only": True}, "options.embedding_only"),
    ],
)
def test_the_impossible_is_refused_by_name(options: dict[str, Any], name: str) -> None:
    assert name in refused(lambda: chat(options=options)).message


def test_the_operators_and_unknown_options_are_warned_of() -> None:
    call = chat(options={"num_gpu": 99, "colour": "red", "num_ctx": 8192, "repeat_last_n": 64})
    fit_context(call, MODEL)
    told = " ".join(call.options.warnings)
    assert "num_gpu" in told
    assert "colour: unknown" in told
    assert "served with 2048" in told
    assert "repeat_last_n" not in told, "it changes nothing without a penalty"


@pytest.mark.parametrize(
    ("fields", "truncate", "length"),
    [
        ({}, {"reply": 512, "keep": 4}, None),
        ({"options": {"num_ctx": 9999}}, {"reply": 512, "keep": 4}, None),
        ({"options": {"num_ctx": 1024}}, {"reply": 256, "keep": 4}, 1024),
        ({"options": {"num_ctx": 1024, "num_keep": 9}}, {"reply": 256, "keep": 9}, 1024),
        ({"options": {"num_predict": 20}}, {"reply": 20, "keep": 4}, None),
        ({"options": {"num_predict": 2000}}, {"reply": 512, "keep": 4}, None),
        ({"truncate": False}, None, None),
        ({"truncate": False, "options": {"num_ctx": 1024}}, None, 1024),
    ],
)
def test_a_prompt_is_made_to_fit_its_context(
    fields: dict[str, Any], truncate: dict[str, int] | None, length: int | None
) -> None:
    for call in (
        chat(**fields),
        parse_generate({"model": "m", "prompt": "hi", **fields}),
        parse_generate({"model": "m", "prompt": "hi", "raw": True, **fields}),
    ):
        generation = fit_context(call, MODEL).generation
        assert generation is not None
        assert write_prompt(generation).get("truncate") == truncate
        assert write_prompt(generation).get("context_length") == length
        assert (write_reply(generation) or {}).get("context_length") == length


def test_the_text_of_a_raw_answer_stays_as_it_is_in_any_context() -> None:
    raw = {"model": "m", "prompt": "hi", "raw": True, "options": {"num_ctx": 64}}
    generation = fit_context(parse_generate(raw), MODEL).generation
    assert generation is not None
    assert write_reply(generation) == {"raw": True, "context_length": 64}


def test_as_many_tokens_as_there_is_room_for_may_be_asked_for() -> None:
    for asked, kept in ((2047, 2047), (2048, None), (10**6, None)):
        generation = fit_context(chat(options={"num_predict": asked}), MODEL).generation
        assert generation is not None
        assert write_sampling(generation).get("max_tokens") == kept


def test_streaming_is_the_default() -> None:
    assert chat().stream
    assert not chat(stream=False).stream


def test_messages_keep_all_that_they_say() -> None:
    call = chat(
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "look", "images": [PIXEL]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "2", "tool_name": "f"},
        ]
    )
    assert call.generation is not None
    system, user, assistant, tool = write_prompt(call.generation)["messages"]
    assert system == {"role": "system", "content": "be brief"}
    assert user["content"] == [{"type": "image"}, {"type": "text", "text": "look"}]
    assert assistant["reasoning_content"] == "hm"
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert tool["name"] == "f"
    (link,) = call.images
    assert link.url == f"data:image/png;base64,{PIXEL}"
    assert link.path == "messages[1].images[0]"


def test_format_constrains_the_engine() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    for given_format, expected in (("json", {"json_object": True}), (schema, {"json": schema})):
        call = chat(format=given_format)
        assert call.generation is not None
        assert write_sampling(call.generation)["structured_outputs"] == expected
        (use,) = call.generation.schemas
        assert (use.path, use.tool, use.strict) == ("format", None, True)
    unbound = chat(format="").generation
    assert unbound is not None
    assert unbound.schemas == ()
    assert "format" in refused(lambda: chat(format="yaml")).message


def test_thinking_is_asked_of_the_template_and_of_models_that_can() -> None:
    call = chat(think=True)
    assert call.generation is not None
    assert write_prompt(call.generation)["chat_template_kwargs"] == {"enable_thinking": True}
    assert "does not support thinking" in refused(check_abilities, call, MODEL).message
    check_abilities(chat(think=False), MODEL)
    assert chat(think="high").think is True
    assert "think" in refused(lambda: chat(think="very")).message


def test_what_a_model_cannot_do_is_said_in_ollamas_words() -> None:
    call = parse_generate({"model": "m", "prompt": "x", "images": [PIXEL]})
    assert refused(check_abilities, call, MODEL).message == '"m" does not support images'


def test_a_suffix_is_filled_in_before() -> None:
    call = parse_generate({"model": "m", "prompt": "def f(", "suffix": "return 1"})
    assert call.generation is not None
    assert write_prompt(call.generation) == {"text": "def f(", "suffix": "return 1"}
    assert write_reply(call.generation) == {"infill": True}
    assert not call.tells_context


def test_generate_renders_a_template_unless_it_is_raw() -> None:
    call = parse_generate({"model": "m", "prompt": "x", "system": "s", "context": [1, 2]})
    assert call.generation is not None
    assert write_prompt(call.generation) == {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}],
        "prefix_token_ids": [1, 2],
    }
    assert call.tells_context
    raw = parse_generate({"model": "m", "prompt": "x", "raw": True})
    assert raw.generation is not None
    assert write_prompt(raw.generation) == {"text": "x"}
    assert (
        "raw"
        in refused(
            parse_generate, {"model": "m", "prompt": "x", "raw": True, "system": "s"}
        ).message
    )
    assert (
        "template"
        in refused(
            parse_generate, {"model": "m", "prompt": "x", "template": "{{ .Prompt }}"}
        ).message
    )
    assert (
        "context"
        in refused(parse_generate, {"model": "m", "prompt": "x", "context": ["a"]}).message
    )


@pytest.mark.parametrize(
    ("keep_alive", "unload"),
    [
        (0, True),
        ("0", True),
        ("0s", True),
        ("0h0m", True),
        ("5m", False),
        (-1, False),
        (None, False),
    ],
)
def test_an_empty_prompt_loads_or_unloads(keep_alive: object, unload: bool) -> None:
    call = parse_generate({"model": "m", "keep_alive": keep_alive})
    assert call.generation is None
    assert call.unload is unload
    assert chat(messages=[], keep_alive=keep_alive).unload is unload


def event(text: str = "", finish: str | None = None, **more: Any) -> Event:
    return Event(0, text, more.pop("ids", []), finish, None, 5, 0, 2, **more)


@given(st.lists(st.lists(st.text(max_size=4), max_size=4), max_size=6))
def test_joined_chunks_are_the_whole_answer(groups: list[list[str]]) -> None:
    events = [[event(text) for text in group] for group in groups] + [[event(finish="stop")]]
    stream = OllamaReply(chat())
    lines = [line for group in events if (line := stream.chunk(group))]
    joined = "".join(json.loads(line)["message"]["content"] for line in lines)
    whole = OllamaReply(chat())
    answer = json.loads(whole.last(Usage(5, 0, 2), whole.collect([e for g in events for e in g])))
    assert answer["message"] == {"role": "assistant", "content": joined}
    assert not any(json.loads(line)["done"] for line in lines)
    last = json.loads(stream.last(Usage(5, 0, 2)))
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "stop", 2)
    parts = last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    assert last["total_duration"] >= parts


def test_calls_come_whole_with_objects() -> None:
    reply = OllamaReply(chat())
    first = {"index": 0, "id": "call_1", "name": "f", "arguments": '{"ci'}
    assert reply.chunk([event(tool_calls=[first])]) == b""
    last = event(tool_calls=[{"index": 0, "arguments": 'ty": "Rom"}'}], finish="tool_calls")
    (call,) = json.loads(reply.chunk([last]))["message"]["tool_calls"]
    assert call["function"] == {"index": 0, "name": "f", "arguments": {"city": "Rom"}}
    assert json.loads(reply.last(Usage(1, 0, 1)))["done_reason"] == "stop"


def test_context_is_prompt_and_answer() -> None:
    reply = OllamaReply(parse_generate({"model": "m", "prompt": "x"}))
    reply.chunk([event("a", prompt_token_ids=[1, 2], ids=[3])])
    reply.chunk([event("b", ids=[4], finish="length")])
    last = json.loads(reply.last(Usage(2, 0, 2)))
    assert last["context"] == [1, 2, 3, 4]
    assert last["done_reason"] == "length"


def test_names_have_tags() -> None:
    assert full_name("mistral") == "mistral:latest"
    assert full_name("mistral:7b") == "mistral:7b"
    assert spellings("mistral:latest") == ["mistral:latest", "mistral"]
    assert spellings("mistral") == ["mistral", "mistral:latest"]
    assert spellings("mistral:7b") == ["mistral:7b"]


def test_models_are_told_in_full() -> None:
    (tag,) = json.loads(render_tags({"my-chat": MODEL}))["models"]
    assert tag["name"] == tag["model"] == "my-chat:latest"
    assert tag["details"]["parameter_size"] == "134.52M"
    assert tag["size"] == 269_060_552
    assert len(tag["digest"]) == 64
    (running,) = json.loads(render_running([(MODEL, None)]))["models"]
    assert running["context_length"] == 2048
    shown = json.loads(render_show(MODEL))
    assert shown["model_info"]["llama.context_length"] == 2048
    assert shown["capabilities"] == capabilities(MODEL) == ["completion", "tools"]
    assert ".Tools" in shown["template"]


def test_embeddings_take_one_or_many() -> None:
    many = parse_embed({"model": "m", "input": ["a", "b"]}, 4, single=False)
    assert many.embedding.texts == ["a", "b"]
    assert many.embedding.truncate
    one = parse_embed({"model": "m", "prompt": "a", "truncate": False}, 4, single=True)
    assert one.embedding.texts == ["a"]
    assert not one.embedding.truncate
