"""Each kind of upstream on a real server, both ways: a Triton, and a second gateway that speaks the
dialect. What the engine behind it gets is what the table of features says, and clients of OpenAI's
API get everything that the engine sends."""

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, APIStatusError, BadRequestError, OpenAI
from PIL import Image

from docs.features import ENGINES, REFUSED, cell
from tests.support.echo import EchoTriton, echo_requests, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "`max_tokens`": ({"max_tokens": 77}, {"max_tokens": 77}),
    "`temperature`": ({"temperature": 0.25}, {"temperature": 0.25}),
    "`top_p`": ({"top_p": 0.5}, {"top_p": 0.5}),
    "`top_k`": ({"extra_body": {"top_k": 7}}, {"top_k": 7}),
    "`min_p`": ({"extra_body": {"min_p": 0.125}}, {"min_p": 0.125}),
    "`seed`": ({"seed": 11}, {"seed": 11}),
    "`stop`": ({"stop": ["zz", "yy"]}, {"stop": ["zz", "yy"]}),
    "`n`": ({"n": 2}, {"n": 2}),
    "`presence_penalty`": ({"presence_penalty": 0.5}, {"presence_penalty": 0.5}),
    "`frequency_penalty`": ({"frequency_penalty": 0.25}, {"frequency_penalty": 0.25}),
    "`repetition_penalty`": (
        {"extra_body": {"repetition_penalty": 1.5}}, {"repetition_penalty": 1.5},
    ),
    "`min_tokens`": ({"extra_body": {"min_tokens": 1}}, {"min_tokens": 1}),
    "`logit_bias`": ({"logit_bias": {"7": 2}}, {"logit_bias": {"7": 2.0}}),
    "`top_logprobs`": ({"logprobs": True, "top_logprobs": 2}, {"logprobs": 2}),
    "another field of engines": (
        {"extra_body": {"ignore_eos": True}}, {"ignore_eos": True},
    ),
}  # fmt: skip
"""By its name in the table: what a client sends, and the sampling parameters of the engine."""


@dataclass(frozen=True)
class Kind:
    """A client of a gateway with one upstream of that kind."""

    engine: str
    sdk: OpenAI
    triton: EchoTriton

    def ask(self, **fields: Any) -> Any:
        return self.sdk.chat.completions.create(model="echo", **fields)

    def record(self, mark: str) -> dict[str, Any]:
        """What the engine did for the request with that text in its prompt."""
        found = (one for one in echo_requests(self.triton) if mark in json.dumps(one["prompt"]))
        return list(found)[-1]


@pytest.fixture(scope="module", params=ENGINES)
def kind(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    echo_triton: EchoTriton,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kind]:
    folder: Path = tmp_path_factory.mktemp(f"kind-{request.param}")
    url = echo_triton.grpc_address if request.param == "triton" else gateway.url
    entry = {"name": "next", "url": url, "engine": request.param}
    (folder / "upstreams.json").write_text(json.dumps({"upstreams": [entry]}))
    flags = ("--upstreams", str(folder / "upstreams.json"))
    with (
        run_gateway("127.0.0.1:9", folder / "log", *flags) as near,
        OpenAI(base_url=f"{near.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        yield Kind(request.param, sdk, echo_triton)


def test_each_field_arrives_at_the_engine_or_is_refused_by_name(kind: Kind) -> None:
    wrong = {}
    for number, (feature, (fields, expected)) in enumerate(FIELDS.items()):
        mark = f"{kind.engine}-field-{number}"
        try:
            kind.ask(messages=script(text=f"{mark} two"), **fields)
        except BadRequestError as error:
            seen: Any = REFUSED if error.code == "unsupported_parameter" else error
        else:
            sampling = kind.record(mark)["sampling_parameters"]
            seen = {name: sampling.get(name) for name in expected}
        if seen != (REFUSED if cell(kind.engine, feature) == REFUSED else expected):
            wrong[feature] = seen
    assert wrong == {}


def test_a_stream_joins_to_the_whole_answer_with_the_same_usage(kind: Kind) -> None:
    given = script(text="one two three", reasoning="let me see")
    whole = kind.ask(messages=given)
    assert whole.choices[0].message.content == "one two three"
    assert whole.choices[0].message.reasoning_content == "let me see"
    assert whole.choices[0].finish_reason == "stop"
    assert (whole.usage.completion_tokens, whole.usage.prompt_tokens > 0) == (3, True)
    chunks = [*kind.ask(messages=given, stream=True, stream_options={"include_usage": True})]
    deltas = [one.choices[0].delta for one in chunks if one.choices]
    assert "".join(one.content or "" for one in deltas) == "one two three"
    assert "".join(getattr(one, "reasoning_content", "") or "" for one in deltas) == "let me see"
    assert chunks[-1].usage == whole.usage
    cut = kind.ask(messages=given, max_tokens=2)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("one two ", "length")


def test_all_that_a_client_may_ask_to_see_comes_back(kind: Kind) -> None:
    if cell(kind.engine, "`n`") != REFUSED:
        several = kind.ask(messages=script(text="one two"), n=2)
        assert [one.message.content for one in several.choices] == ["one two", "one two"]
        assert several.usage.completion_tokens == 4
    if cell(kind.engine, "`top_logprobs`") != REFUSED:
        scored = kind.ask(messages=script(text="one two"), logprobs=True, top_logprobs=1)
        tokens = scored.choices[0].logprobs.content
        assert [(one.token, one.logprob) for one in tokens] == [("one ", -0.5), ("two", -0.5)]
        assert [len(one.top_logprobs) for one in tokens] == [1, 1]
    stopped = kind.ask(messages=script(text="one two three"), stop=["three"])
    assert stopped.choices[0].message.content == "one two "
    assert stopped.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_shown_called_and_answered(kind: Kind, stream: bool) -> None:
    call = {"index": 0, "id": "call_1", "name": "look_up", "arguments": '{"q":"a"}'}
    mark = f"{kind.engine}-tools-{stream}"
    given = script(text=mark, tool_calls=[call], finish_reason="tool_calls")
    if not stream:
        (choice,) = kind.ask(messages=given, tools=[TOOL]).choices
        (made,) = choice.message.tool_calls
        name, arguments, reason = made.function.name, made.function.arguments, choice.finish_reason
    else:
        choices = [one.choices[0] for one in kind.ask(messages=given, tools=[TOOL], stream=True)]
        pieces = [piece for one in choices for piece in one.delta.tool_calls or ()]
        assert {piece.index for piece in pieces} == {0}
        name = "".join(piece.function.name or "" for piece in pieces)
        arguments = "".join(piece.function.arguments or "" for piece in pieces)
        reason = choices[-1].finish_reason
    assert (name, json.loads(arguments), reason) == ("look_up", {"q": "a"}, "tool_calls")
    shown = kind.record(mark)["prompt"]["tools"]
    assert [one["function"]["name"] for one in shown] == ["look_up"]
    assert shown[0]["function"]["parameters"]["properties"] == {"q": {"type": "string"}}
    function = {"name": "look_up", "arguments": '{"q": "a"}'}
    history: list[Any] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "look it up"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": f"{mark} found"},
    ]
    assert kind.ask(messages=history, tools=[TOOL]).choices[0].message.content == f"{mark} found"
    told = kind.record(f"{mark} found")["prompt"]["messages"]
    assert [one["role"] for one in told] == ["system", "user", "assistant", "tool"]
    assert told[2]["tool_calls"][0]["function"]["name"] == "look_up"


def test_an_answer_has_the_asked_structure(kind: Kind) -> None:
    mark = f"{kind.engine}-schema"
    given = script(text='{"a": 1}', tool_calls=None)
    given = [{"role": "system", "content": mark}, *given]
    answer = kind.ask(messages=given, response_format=FORMAT)
    assert json.loads(answer.choices[0].message.content) == {"a": 1}
    assert "structured_outputs" in kind.record(mark)["sampling_parameters"]


def test_an_image_reaches_the_engine(kind: Kind) -> None:
    file, mark = io.BytesIO(), f"{kind.engine}-image"
    Image.new("RGB", (5, 3), "red").save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    parts: list[Any] = [
        {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": mark},
    ]  # fmt: skip
    assert kind.ask(messages=[{"role": "user", "content": parts}]).choices[0].message.content
    (image,) = kind.record(mark)["images"]
    with Image.open(io.BytesIO(base64.b64decode(image))) as seen:
        assert (seen.size, seen.getpixel((0, 0))) == ((5, 3), (255, 0, 0))


def test_errors_keep_their_meaning(kind: Kind) -> None:
    error = {"status": 400, "message": "bad temperature", "param": "temperature"}
    with pytest.raises(BadRequestError, match="bad temperature"):
        kind.ask(messages=script(text="a", fail_after=0, error=error))
    with pytest.raises(BadRequestError, match="9000 tokens") as long:
        kind.ask(messages=[{"role": "user", "content": "word " * 9000}])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(APIStatusError) as failed:
        kind.ask(messages=script(text="a", fail_after=0))
    assert failed.value.status_code in (500, 502)
    # within the stream, or before it where the first token and the failure come together
    with pytest.raises(APIError):
        _ = [*kind.ask(messages=script(text="one two", fail_after=1), stream=True)]
    with pytest.raises(APIStatusError) as unknown:
        kind.sdk.chat.completions.create(model="none", messages=script(text="a"))
    assert unknown.value.status_code == 404


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_work_of_the_engine(kind: Kind, stream: bool) -> None:
    mark = f"{kind.engine}-left-{stream}"
    given = script(text=f"{mark} " * 2000, delay_ms=30)
    if stream:
        chunks = kind.ask(messages=given, stream=True)
        next(iter(chunks))
        chunks.close()
    else:
        with pytest.raises(APIError):
            kind.sdk.with_options(timeout=1).chat.completions.create(model="echo", messages=given)

    def outcome() -> Any:
        found = [r for r in echo_requests(kind.triton) if mark in json.dumps(r["prompt"])]
        return found[-1]["outcome"] if found else None

    wait_for(lambda: outcome() is not None, what="the end of the work")
    assert outcome() == "abort"


def test_embeddings_are_those_of_the_engine(kind: Kind, client: OpenAI) -> None:
    if kind.sdk.models.retrieve("echo-embedding").model_extra["kind"] != "embedding":  # type: ignore[index]
        assert kind.engine == "anthropic", "its API has no embeddings"
        return
    texts = ["one", "two words"]
    far = kind.sdk.embeddings.create(model="echo-embedding", input=texts)
    near = client.embeddings.create(model="echo-embedding", input=texts)
    assert [d.embedding for d in far.data] == [d.embedding for d in near.data]
    assert far.usage == near.usage


def test_a_plain_prompt_is_completed_or_refused(kind: Kind) -> None:
    prompt = json.dumps({"text": "one two"})
    if cell(kind.engine, "`prompt`") == REFUSED:
        with pytest.raises(APIStatusError):
            kind.sdk.completions.create(model="echo", prompt=prompt)
        return
    answer = kind.sdk.completions.create(model="echo", prompt=prompt, max_tokens=5)
    assert answer.choices[0].text == "one two"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2
