"""Every kind of request that Ollama's API documentation shows, sent as curl sends it.

The model's names differ and so do its words; the fields of every answer must be those documented.
"""

import base64
import json
import struct
import zlib
from typing import Any

import httpx2
import pytest

from tests.support.echo import script
from tests.support.gateway import Gateway

_FORM = {"content-type": "application/x-www-form-urlencoded"}  # curl's, when none is named
_TIMES = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
_COUNTS = {"prompt_eval_count", "eval_count"}
_END = {"done", "done_reason"} | _TIMES | _COUNTS
_WHY = "Why is the sky blue?"
_ASK = [{"role": "user", "content": _WHY}]
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather for a location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The location"},
                "format": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location", "format"],
        },
    },
}
_AGE = {
    "type": "object",
    "properties": {"age": {"type": "integer"}, "available": {"type": "boolean"}},
    "required": ["age", "available"],
}
_AGED = script(text='{"age": 22, "available": true}')
_EVERY_OPTION = {
    "num_keep": 5,
    "seed": 42,
    "num_predict": 100,
    "top_k": 20,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 0.7,
    "repeat_last_n": 33,
    "temperature": 0.8,
    "repeat_penalty": 1.2,
    "presence_penalty": 1.5,
    "frequency_penalty": 1.0,
    "penalize_newline": True,
    "stop": ["\n", "user:"],
    "numa": False,
    "num_ctx": 1024,
    "num_batch": 2,
    "num_gpu": 1,
    "main_gpu": 0,
    "use_mmap": True,
    "num_thread": 8,
}


def post(gateway: Gateway, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the answer."""
    content = json.dumps({"model": "echo", **body})
    answer = httpx2.post(gateway.url + path, content=content, headers=_FORM, timeout=30)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def check_stream(lines: list[dict[str, Any]], field: str, more: set[str]) -> None:
    """Pieces, and an end that counts and measures."""
    assert len(lines) >= 2
    for line in lines[:-1]:
        assert {"model", "created_at", field, "done"} <= line.keys()
        assert line["done"] is False
    check_end(lines[-1], field, more)


def check_end(line: dict[str, Any], field: str, more: set[str]) -> None:
    assert {"model", "created_at", field} | _END | more <= line.keys()
    assert line["done"] is True
    assert line["done_reason"] in ("stop", "length")
    assert all(isinstance(line[name], int) and line[name] >= 0 for name in _TIMES | _COUNTS)
    parts = ("load_duration", "prompt_eval_duration", "eval_duration")
    assert line["total_duration"] >= sum(line[part] for part in parts)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"options": {"temperature": 0}, "keep_alive": "5m"},
        {"system": "Answer like a pirate."},
        {"options": {"seed": 123}},
    ],
    ids=["plain", "options", "system", "seed"],
)
def test_generate_streams(gateway: Gateway, body: dict[str, Any]) -> None:
    lines = post(gateway, "/api/generate", {"prompt": _WHY, **body})
    check_stream(lines, "response", {"context"})
    assert all(isinstance(token, int) for token in lines[-1]["context"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"raw": True},
        {"options": {"seed": 123, "temperature": 0}},
        {"options": _EVERY_OPTION},
    ],
    ids=["plain", "raw", "reproducible", "every-option"],
)
def test_generate_whole(gateway: Gateway, body: dict[str, Any]) -> None:
    (answer,) = post(gateway, "/api/generate", {"prompt": _WHY, "stream": False, **body})
    check_end(answer, "response", set() if body.get("raw") else {"context"})
    assert answer["response"]


def test_a_conversation_goes_on_by_its_context(gateway: Gateway) -> None:
    (first,) = post(gateway, "/api/generate", {"prompt": "one two", "stream": False})
    more = {"prompt": "three", "stream": False, "context": first["context"]}
    (second,) = post(gateway, "/api/generate", more)
    check_end(second, "response", {"context"})


def test_generate_to_load(gateway: Gateway) -> None:
    (answer,) = post(gateway, "/api/generate", {})
    assert {"model", "created_at", "response", "done"} <= answer.keys()
    assert (answer["response"], answer["done"], answer["done_reason"]) == ("", True, "load")


def test_chat_to_load(gateway: Gateway) -> None:
    (answer,) = post(gateway, "/api/chat", {"messages": []})
    assert answer["message"] == {"role": "assistant", "content": ""}
    assert (answer["done"], answer["done_reason"]) == (True, "load")


@pytest.mark.parametrize(
    "messages",
    [
        _ASK,
        [*_ASK, {"role": "assistant", "content": "rayleigh"}, {"role": "user", "content": "how?"}],
        [{"role": "system", "content": "Be brief."}, *_ASK],
    ],
    ids=["one", "history", "system"],
)
def test_chat_streams(gateway: Gateway, messages: list[dict[str, str]]) -> None:
    lines = post(gateway, "/api/chat", {"messages": messages})
    check_stream(lines, "message", set())
    assert all(line["message"]["role"] == "assistant" for line in lines)
    assert "".join(line["message"]["content"] for line in lines)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"options": {"seed": 101, "temperature": 0}},
        {"format": "json", "messages": _AGED},
        {"format": _AGE, "messages": _AGED},
    ],
    ids=["plain", "seed", "json", "schema"],
)
def test_chat_whole(gateway: Gateway, body: dict[str, Any]) -> None:
    (answer,) = post(gateway, "/api/chat", {"messages": _ASK, "stream": False, **body})
    check_end(answer, "message", set())
    if "format" in body:
        assert json.loads(answer["message"]["content"]) == {"age": 22, "available": True}


def test_chat_with_tools_and_their_answers(gateway: Gateway) -> None:
    said = json.dumps({"tool_calls": [{"name": "get_current_weather", "arguments": "{}"}]})
    call = {
        "function": {
            "name": "get_current_weather",
            "arguments": {"format": "celsius", "location": "Paris"},
        }
    }
    history = [
        *_ASK,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "11 degrees", "tool_name": "get_current_weather"},
    ]
    for messages in ([{"role": "user", "content": said}], history):
        body = {"messages": messages, "stream": False, "tools": [_WEATHER]}
        (answer,) = post(gateway, "/api/chat", body)
        check_end(answer, "message", set())
        for each in answer["message"].get("tool_calls", []):
            assert isinstance(each["function"]["arguments"], dict)


def test_images_go_to_models_that_see(gateway: Gateway) -> None:
    row = b"\0" + b"\xff\0\0" * 2

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    png += chunk(b"IDAT", zlib.compress(row * 2)) + chunk(b"IEND", b"")
    message = {"role": "user", "content": "what is in this image?"}
    message["images"] = [base64.b64encode(png).decode()]  # type: ignore[assignment]
    content = json.dumps({"model": "echo", "messages": [message], "stream": False})
    answer = httpx2.post(f"{gateway.url}/api/chat", content=content, headers=_FORM)
    sees = "vision" in shown(gateway)["capabilities"]
    assert answer.status_code == (200 if sees else 400), answer.text


def shown(gateway: Gateway) -> dict[str, Any]:
    content = json.dumps({"model": "echo"})
    answer = httpx2.post(f"{gateway.url}/api/show", content=content, headers=_FORM)
    found: dict[str, Any] = answer.json()
    return found


def test_show(gateway: Gateway) -> None:
    fields = {"modelfile", "parameters", "template", "details", "model_info", "capabilities"}
    answer = shown(gateway)
    assert fields <= answer.keys()
    details = {"parent_model", "format", "family", "families", "parameter_size"}
    assert details | {"quantization_level"} <= answer["details"].keys()
    assert "completion" in answer["capabilities"]


def test_tags_and_running(gateway: Gateway) -> None:
    listed = httpx2.get(f"{gateway.url}/api/tags").json()["models"]
    running = httpx2.get(f"{gateway.url}/api/ps").json()["models"]
    common = {"name", "model", "size", "digest", "details"}
    for model in listed:
        assert common | {"modified_at"} <= model.keys()
        assert model["modified_at"] > "2024"
        assert len(model["digest"]) == 64
    for model in running:
        assert common | {"expires_at", "size_vram"} <= model.keys()


@pytest.mark.parametrize("given", [_WHY, [_WHY, "Why is the grass green?"]])
def test_embed(gateway: Gateway, given: str | list[str]) -> None:
    (answer,) = post(gateway, "/api/embed", {"model": "echo-embedding", "input": given})
    assert {"model", "embeddings", "total_duration", "load_duration"} <= answer.keys()
    assert len(answer["embeddings"]) == (1 if isinstance(given, str) else 2)
    assert answer["prompt_eval_count"] > 0


def test_embeddings(gateway: Gateway) -> None:
    (answer,) = post(
        gateway, "/api/embeddings", {"model": "echo-embedding", "prompt": "An article"}
    )
    assert answer.keys() == {"embedding"}
    assert all(isinstance(number, float) for number in answer["embedding"])


def test_version(gateway: Gateway) -> None:
    assert httpx2.get(f"{gateway.url}/api/version").json().keys() == {"version"}
