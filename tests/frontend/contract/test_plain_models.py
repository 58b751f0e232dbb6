"""Models of Triton that this toolkit did not build, served by their own tensors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIError, BadRequestError, NotFoundError, OpenAI

from tests.support.gateway import run_gateway
from tests.support.plain import plain_triton
from tests.support.processes import status_of, wait_for

DECLARED: list[dict[str, Any]] = [
    {"name": "vllm", "own": "vllm_model", "chat_template": "chatml", "context_length": 4096},
    {"name": "older", "own": "older_vllm", "chat_template": "chatml"},
    {"name": "old", "own": "old_vllm", "chat_template": "own.jinja", "tokenizer": "words.json"},
    {"name": "ensemble", "chat_template": "llama-3", "context_length": 2048, "aliases": ["trt"]},
    {"name": "api", "own": "tensorrt_llm_api", "chat_template": "chatml"},
    {"name": "texts", "dimensions": 3, "tensors": {"text": "TEXT", "vector": "VECTOR"}},
    {
        "name": "states",
        "tokenizer": "words.json",
        "context_length": 4,
        "tensors": {
            "ids": "input_ids",
            "mask": "attention_mask",
            "vector": "last_hidden_state",
            "pooling": "mean",
            "normalize": False,
        },
    },
]


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with plain_triton(tmp_path_factory.mktemp("plain")) as server:
        yield server.grpc_address


@pytest.fixture(scope="module")
def sdk(triton: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "own.jinja").write_text("{{ messages[-1].content }}{{ bos_token }} <turn>")
    vocabulary = {"[UNK]": 0, "one": 1, "two": 2, "three": 3}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    words = {"version": "1.0", "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": model}
    (folder / "words.json").write_text(json.dumps(words))
    file = folder / "upstreams.json"
    entry = {"name": "east", "url": triton, "models": DECLARED}
    file.write_text(json.dumps({"upstreams": [entry]}))
    flags = ["--upstreams", str(file), "--model-files", str(folder)]
    with (
        run_gateway("127.0.0.1:9", folder / "log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        wait_for(lambda: status_of(f"{gateway.url}/v1/models/api") == 200, what="the models")
        yield client


TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA: dict[str, Any] = {
    "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"],
}  # fmt: skip


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def tensors(text: str | None) -> dict[str, Any]:
    """What the model got, which is what it answers."""
    found: dict[str, Any] = json.loads(text or "")
    return found


def test_plain_models_are_found_by_their_tensors_alone(triton: str, tmp_path: Path) -> None:
    with run_gateway(triton, tmp_path / "log") as gateway:
        url = f"{gateway.url}/v1"
        listed = httpx2.get(f"{url}/models").json()["data"]
        # not the steps of `ensemble`, nor embedding models, whose tensors nobody named
        names = {one["id"]: one["capabilities"] for one in listed}
        expected = ("vllm_model", "older_vllm", "old_vllm", "ensemble", "tensorrt_llm_api")
        assert names == {name: ["completion"] for name in expected}
        body = {"model": "vllm_model", "messages": user("a")}
        refused = httpx2.post(f"{url}/chat/completions", json=body)
        assert refused.status_code == 400
        assert "does not support chat" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("model", "prompt_tokens"),
    [("vllm", 6), ("old", 7), ("ensemble", 6), ("trt", 6)],
)
def test_a_chat_is_rendered_streamed_and_counted(
    sdk: OpenAI, model: str, prompt_tokens: int
) -> None:
    asked = user("SAY one two|three END")
    whole = sdk.chat.completions.create(model=model, messages=asked)
    assert whole.choices[0].message.content == "one twothree"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    # words, as the model, its first step or the declared tokenizer count them
    assert whole.usage.prompt_tokens == pytest.approx(prompt_tokens, abs=3)
    assert whole.usage.completion_tokens >= 1
    chunks = list(
        sdk.chat.completions.create(
            model=model, messages=asked, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text == "one twothree"
    assert chunks[-1].usage == whole.usage


def test_a_model_of_the_vllm_backend_gets_its_tensors(sdk: OpenAI) -> None:
    answer = sdk.completions.create(
        model="vllm", prompt="what came", temperature=0.5, seed=3, stop=["x"], max_tokens=50,
        extra_body={"top_k": 5, "ignore_eos": True},
    )  # fmt: skip
    got = tensors(answer.choices[0].text)
    assert json.loads(got["sampling_parameters"][0]) == {
        "max_tokens": 50, "temperature": 0.5, "seed": 3, "stop": ["x"], "top_k": 5,
        "ignore_eos": True,
    }  # fmt: skip
    assert (got["stream"], got["exclude_input_in_output"]) == ([True], [True])
    # nothing is asked of an old release that it does not know
    old = tensors(sdk.completions.create(model="old", prompt="a").choices[0].text)
    assert old.keys() == {"stream", "sampling_parameters", "exclude_input_in_output"}
    assert json.loads(old["sampling_parameters"][0]) == {"max_tokens": 16}


def test_an_ensemble_of_tensorrt_llm_gets_its_tensors(sdk: OpenAI) -> None:
    answer = sdk.completions.create(
        model="ensemble", prompt="what came", temperature=0, stop=["~x", "~y"], seed=3,
        max_tokens=5000,
        extra_body={"repetition_penalty": 1.5},
    )  # fmt: skip
    got = tensors(answer.choices[0].text)
    assert got["stop_words"] == ["-x", "-y"]
    assert (got["top_k"], got["temperature"], got["seed"]) == ([1], [1.0], [3])
    assert got["repetition_penalty"] == [1.5]
    # what its context leaves, by its own tokenizing step
    assert got["max_tokens"] == [2046]
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    shaped = sdk.completions.create(
        model="ensemble", prompt="a", extra_body={"structured_outputs": {"json": schema}}
    )
    guided = tensors(shaped.choices[0].text)
    assert guided["guided_decoding_guide_type"] == ["json_schema"]
    assert json.loads(guided["guided_decoding_guide"][0])["properties"] == schema["properties"]


def test_a_model_of_the_llm_api_gets_its_tensors(sdk: OpenAI) -> None:
    answer = sdk.completions.create(model="api", prompt="what came", max_tokens=9, stop="~z")
    got = tensors(answer.choices[0].text)
    assert got["sampling_param_max_tokens"] == [9]
    assert got["sampling_param_stop"] == ["-z"]
    assert got["sampling_param_exclude_input_from_output"] == [True]
    assert got["sampling_param_top_p"] == [1.0]  # without it the model is greedy
    # its texts are the whole answer so far
    stream = sdk.completions.create(model="api", prompt="SAY a|b|c END", stream=True)
    assert [one.choices[0].text for one in stream if one.choices] == ["a", "b", "c"]


def test_stop_texts_end_an_answer_before_them(sdk: OpenAI) -> None:
    answer = sdk.completions.create(model="api", prompt="SAY one |ST|OP two END", stop=["STOP"])
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("one ", "stop")
    cut = sdk.completions.create(model="old", prompt="SAY a|b|c|d END", max_tokens=2)
    assert (cut.choices[0].text, cut.choices[0].finish_reason) == ("ab", "length")


def test_a_client_that_goes_away_cancels_the_generation(sdk: OpenAI) -> None:
    prompt = "SLOWLY SAY " + "|".join(["a"] * 400) + " END"
    stream = sdk.completions.create(model="vllm", prompt=prompt, max_tokens=400, stream=True)
    next(iter(stream))
    stream.close()

    def is_cancelled() -> bool:
        answer = sdk.completions.create(model="vllm", prompt="STATS")
        return answer.choices[0].text == "1"

    wait_for(is_cancelled, what="the end of the generation")


def test_logprobs_come_where_the_model_has_them(sdk: OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model="vllm", messages=user("SAY hi END"), logprobs=True, top_logprobs=1
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    (one,) = logprobs.content
    assert (one.token, one.logprob, one.top_logprobs[0].token) == ("hi", -0.5, "?")


def test_several_answers_are_several_calls_with_seeds_of_their_own(sdk: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "vllm", "messages": user("x"), "n": 3, "seed": 7}
    whole = sdk.chat.completions.create(**asked)
    given = [tensors(one.message.content) for one in whole.choices]
    seeds = [json.loads(one["sampling_parameters"][0])["seed"] for one in given]
    assert (seeds, [one.index for one in whole.choices]) == ([7, 8, 9], [0, 1, 2])
    assert whole.usage is not None
    alone = sdk.chat.completions.create(**{**asked, "n": 1})
    assert alone.usage is not None
    assert whole.usage.prompt_tokens == alone.usage.prompt_tokens
    assert whole.usage.completion_tokens == 3 * alone.usage.completion_tokens
    said = {0: "", 1: ""}
    asked |= {"n": 2, "messages": user("SAY a|b|c END")}
    for chunk in sdk.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == {0: "abc", 1: "abc"}


@pytest.mark.parametrize(
    ("model", "fields", "named"),
    [
        ("old", {"tools": [TOOL]}, "tools"),
        ("vllm", {"logit_bias": {"5": 1}}, "'logit_bias'"),
        ("old", {"response_format": {"type": "json_object"}}, "'response_format"),
        ("api", {"tools": [TOOL], "tool_choice": "required"}, "'tool_choice'"),
        ("api", {"response_format": {"type": "json_object"}}, "'response_format"),
        ("vllm", {"tools": [TOOL], "response_format": {"type": "json_object"}}, "'response_format"),
        ("older", {"structured_outputs": {"json": {}, "disable_any_whitespace": True}},
         "'structured_outputs.disable_any_whitespace'"),
        ("old", {"logprobs": True}, "'logprobs'"),
        ("ensemble", {"logprobs": True}, "'logprobs'"),
        ("ensemble", {"min_p": 0.5}, "'min_p'"),
    ],
)  # fmt: skip
def test_what_a_plain_model_cannot_do_is_refused_by_name(
    sdk: OpenAI, model: str, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadRequestError, match=named):
        sdk.chat.completions.create(model=model, messages=user("a"), extra_body=fields)


def test_texts_are_embedded_by_a_declared_tensor(sdk: OpenAI) -> None:
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    answer = sdk.embeddings.create(model="texts", input=texts)
    first, second = answer.data[0].embedding, answer.data[1].embedding
    assert first == pytest.approx([0.7071, 0.7071, 0.0], abs=1e-3)
    assert second == pytest.approx([0.8944, 0.4472, 0.0], abs=1e-3)
    assert len(answer.data) == 5


def test_states_of_tokens_are_pooled_without_the_padding(sdk: OpenAI) -> None:
    answer = sdk.embeddings.create(model="states", input=["one two three", "two"])
    assert [one.embedding for one in answer.data] == [[2.0, 1.0], [2.0, 1.0]]
    assert answer.usage.prompt_tokens == 4
    with pytest.raises(BadRequestError, match="maximum context length is 4 tokens"):
        sdk.embeddings.create(model="states", input="one one one one one")
    by_ids = sdk.embeddings.create(model="states", input=[[3, 3]])
    assert by_ids.data[0].embedding == [3.0, 1.0]


def test_only_declared_models_are_served(sdk: OpenAI) -> None:
    with pytest.raises(NotFoundError):
        sdk.models.retrieve("vllm_model")
    assert sdk.models.retrieve("vllm").id == "vllm"


def as_schema(schema: dict[str, Any]) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


@pytest.mark.parametrize(
    ("model", "parameter"), [("vllm", "structured_outputs"), ("older", "guided_decoding")]
)
def test_a_schema_goes_to_the_vllm_backend_as_its_release_calls_it(
    sdk: OpenAI, model: str, parameter: str
) -> None:
    fields = {"structured_outputs": {"regex": "[a-z]+"}}
    answer = sdk.completions.create(model=model, prompt="what came", extra_body=fields)
    sampling = json.loads(tensors(answer.choices[0].text)["sampling_parameters"][0])
    # JSON in the JSON, as the backend reads it
    assert json.loads(sampling[parameter]) == {"regex": "[a-z]+"}
    given = sdk.completions.create(
        model=model, prompt='SAY {"a": |3} END', extra_body={"structured_outputs": {"json": SCHEMA}}
    )
    assert json.loads(given.choices[0].text) == {"a": 3}


@pytest.mark.parametrize("model", ["vllm", "older"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_a_plain_model_is_checked_against_its_schema(
    sdk: OpenAI, model: str, stream: bool
) -> None:
    asked = {"model": model, "response_format": as_schema(SCHEMA)}

    def text(prompt: str) -> str:
        made: Any = sdk.chat.completions.create(messages=user(prompt), stream=stream, **asked)
        if not stream:
            return str(made.choices[0].message.content)
        return "".join(one.choices[0].delta.content or "" for one in made if one.choices)

    assert json.loads(text('SAY {"a": |3} END')) == {"a": 3}
    # an engine that did not follow the grammar
    with pytest.raises(APIError) as raised:
        text('SAY {"a": |"x"} END')
    assert "response_format" in str(raised.value)
    asked["response_format"] = {"type": "json_object"}
    with pytest.raises(APIError):
        text("SAY not| JSON END")


@pytest.mark.parametrize("stream", [False, True])
def test_tools_of_a_plain_model_are_shown_and_its_calls_read(sdk: OpenAI, stream: bool) -> None:
    call = '<tool_call>|{"name": "f", "arg|uments": {"a": 1}}|</tool_call>'
    assert calls_of(sdk, "vllm", f"SAY I ask.|{call} END", stream) == (
        "I ask.", [("f", {"a": 1})], "tool_calls",
    )  # fmt: skip
    assert calls_of(sdk, "vllm", "SAY just| text END", stream) == ("just text", [], "stop")
    forced = {"tool_choice": "required"}
    said = 'SAY [{"name": "f",| "arguments": {"a": 2}}] END'
    for model in ("vllm", "older", "ensemble"):
        assert calls_of(sdk, model, said, stream, **forced) == (
            "", [("f", {"a": 2})], "tool_calls",
        )  # fmt: skip
    named = {"tool_choice": {"type": "function", "function": {"name": "f"}}}
    assert calls_of(sdk, "vllm", 'SAY {"a"|: 3} END', stream, **named)[1] == [("f", {"a": 3})]


def calls_of(
    sdk: OpenAI, model: str, prompt: str, stream: bool, **more: Any
) -> tuple[str, list[tuple[str, Any]], str]:
    made: Any = sdk.chat.completions.create(
        model=model, messages=user(prompt), tools=[TOOL], stream=stream, **more
    )
    chunks = list(made) if stream else [made]
    text, calls, reason = "", list[tuple[str, Any]](), ""
    for choice in (one.choices[0] for one in chunks if one.choices):
        said = choice.delta if stream else choice.message
        text += said.content or ""
        calls += [
            (c.function.name, json.loads(c.function.arguments)) for c in said.tool_calls or ()
        ]
        reason = choice.finish_reason or reason
    return text, calls, reason


def test_the_arguments_of_a_strict_tool_are_checked(sdk: OpenAI) -> None:
    closed = {**SCHEMA, "additionalProperties": False}
    strict: Any = {
        "type": "function", "function": {"name": "f", "strict": True, "parameters": closed},
    }  # fmt: skip
    wrong = user('SAY {"name": "f", "parameters": {"a": "x"}} END')
    with pytest.raises(APIError, match=r"tools\[0\]"):
        sdk.chat.completions.create(model="ensemble", messages=wrong, tools=[strict])
