"""Bodies, texts and lists of every kind that are too large, from a caller with a key."""

import functools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from tests.attack.conftest import CHAT, EMBEDDING, Target

Refused = Callable[[httpx2.Response], dict[str, Any]]
MB = 1_000_000
WORDS = "the quick brown fox "
CHATS, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": CHAT, "messages": [{"role": "user", "content": text}], **fields}


def many(piece: str, size: int = 18 * MB) -> str:
    return piece * (size // len(piece))


def raw(content: str, start: str = '"messages":[{"role":"user","content":"x"}]') -> bytes:
    """A chat request with something more in it, as text."""
    return f'{{"model":"{CHAT}",{start},{content}}}'.encode()


def keys(count: int) -> str:
    return ",".join(f'"k{number:07d}":1' for number in range(count))


def texts() -> dict[str, tuple[str, Any]]:
    """Name → route and body. Importing makes none: each worker would keep 300 MB of them."""
    return {
        "a long message": (CHATS, said(many(WORDS, 19 * MB))),
        "a long message of one letter": (CHATS, said("a" * 19 * MB)),
        "a long message of spaces": (CHATS, said(" " * 19 * MB)),
        "a message just below the body's bound": (CHATS, said(many("你", 6 * MB))),
        "many messages": (
            CHATS,
            {"model": CHAT, "messages": [{"role": "user", "content": WORDS * 400}] * 2000},
        ),
        "a long prompt": ("/v1/completions", {"model": CHAT, "prompt": many(WORDS, 3 * MB)}),
        "many choices": ("/v1/completions", {"model": CHAT, "prompt": ["a"] * 8192, "n": 128}),
        "a long input": (EMBEDDINGS, {"model": EMBEDDING, "input": many(WORDS, 3 * MB)}),
        "an input that is one word": (EMBEDDINGS, {"model": EMBEDDING, "input": "a" * 3 * MB}),
        "many biases": (CHATS, said("x", logit_bias={str(number): 1 for number in range(100_000)})),
        "a value that the template repeats": (
            CHATS,
            {
                "model": CHAT,
                "messages": [{"role": r, "content": "x"} for r in ("user", "assistant")] * 1000,
                "chat_template_kwargs": {"bos_token": "y" * 500_000, "eos_token": "y" * 500_000},
            },
        ),
        "a long tool": (
            CHATS,
            said(
                "x",
                tools=[
                    {
                        "type": "function",
                        "function": {"name": f"f{k}", "description": "d" * 100_000},
                    }
                    for k in range(120)
                ],
            ),
        ),
    }


@functools.cache
def raw_bodies() -> dict[str, bytes]:
    """Name → what is sent as the body."""
    return {
        "unique keys": raw(keys(18 * MB // 13)),
        "unique keys in an object": raw(f'"logit_bias":{{{keys(18 * MB // 13)}}}'),
        "numbers": raw(f'"stop_token_ids":[{many("1,")}1]'),
        "empty lists": raw(f'"stop":[{many("[],")}[]]'),
        "empty objects": raw(f'"stop":[{many("{},")}{{}}]'),
        "texts": raw('"stop":[' + many('"a",') + '"a"]'),
        "a long name": raw(f'"{many("max_tokens")}":1'),
        "a long name that is nearly one": raw(f'"{many("temperature")}":1'),
        "a long text where a number belongs": raw(f'"max_tokens":"{many("9")}"'),
        "a long model": f'{{"model":"{many("m")}","messages":[]}}'.encode(),
        "escapes": raw('"user_":"' + many("\\u4e00") + '"'),
        "content parts": raw(
            '"a":1',
            '"messages":[{"role":"user","content":['
            + many('{"type":"text","text":"a"},', 1_600_000)
            + '{"type":"text","text":"a"}]}]',
        ),
        "nested lists": raw(f'"stop":[{many("[" * 60 + "]" * 60 + ",", 600_000)}[]]'),
        "absent fields": raw(keys(140_000).replace(":1", ":null")),
        "messages": raw('"a":1', '"messages":[' + many('{"role":"user","content":""},') + "{}]"),
    }


def test_texts_that_are_too_large(target: Target, refused: Refused) -> None:
    bodies = {
        name: (path, json.dumps(body, ensure_ascii=False).encode())
        for name, (path, body) in texts().items()
    }
    with target.beside():
        answers = {name: target.post(path, body) for name, (path, body) in bodies.items()}
    for answer in answers.values():
        refused(answer)


def test_bodies_that_are_too_large(target: Target) -> None:
    bodies = raw_bodies()
    with target.beside():
        answers = {name: target.post(CHATS, body) for name, body in bodies.items()}
    for name, answer in answers.items():
        assert 400 <= answer.status_code < 500, (name, answer.text[:300])
        assert len(answer.json()["error"]["message"]) <= 500, name


def test_an_input_that_may_be_cut_is(target: Target) -> None:
    long = (many(WORDS, 3 * MB), "a" * 3 * MB, " " * 3 * MB)
    bodies = [
        json.dumps({"model": EMBEDDING, "input": text, "truncate_prompt_tokens": -1}).encode()
        for text in long
    ]
    with target.beside():
        answers = [target.post(EMBEDDINGS, body) for body in bodies * 3]
    assert {answer.status_code for answer in answers} == {200}


def test_many_at_once(target: Target) -> None:
    long = json.dumps(said(many(WORDS, 19 * MB))).encode()
    few = [*(raw_bodies()[name] for name in ("numbers", "a long name", "escapes")), long]
    with target.beside(), ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda body: target.post(CHATS, body), few * 10))
    assert {answer.status_code // 100 for answer in answers} == {4}
