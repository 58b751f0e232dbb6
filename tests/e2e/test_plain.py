"""A real vLLM by the tensors of Triton's own vLLM backend, which our engine has as well."""

import json
from pathlib import Path
from typing import Any

from openai import OpenAI

from tests.e2e.conftest import CHAT
from tests.support.gateway import run_gateway
from tests.support.processes import Service, status_of, wait_for

MESSAGES: list[Any] = [
    {"role": "system", "content": "You answer in one word."},
    {"role": "user", "content": "What is the capital of France?"},
]


def flags_of(service: Service, *names: str) -> list[str]:
    """What the service's own gateway was started with."""
    lines = [process.cmdline() for process in service.named("frontend")]
    line = next(one for one in lines if "--triton" in one)
    return [word for name in names if name in line for word in (name, line[line.index(name) + 1])]


def test_the_plain_tensors_give_the_same_answer_as_the_contract(
    service: Service, client: OpenAI, tmp_path: Path
) -> None:
    (_, address) = flags_of(service, "--triton")
    model = {"name": "plain", "own": f"{CHAT}.engine", "chat_template": "chatml"}
    entry = {"name": "a", "url": address, "models": [{**model, "context_length": 2048}]}
    file = tmp_path / "upstreams.json"
    file.write_text(json.dumps({"upstreams": [entry]}))
    flags = ["--upstreams", str(file), *flags_of(service, "--triton-key-file")]
    with (
        run_gateway("127.0.0.1:9", tmp_path / "log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as plain,
    ):
        wait_for(lambda: status_of(f"{gateway.url}/v1/models/plain") == 200, 20, "the model")
        asked: Any = {"messages": MESSAGES, "temperature": 0, "max_tokens": 12}
        ours = client.chat.completions.create(model=CHAT, **asked)
        theirs = plain.chat.completions.create(model="plain", **asked)
        assert theirs.choices[0].message.content == ours.choices[0].message.content
        assert theirs.choices[0].finish_reason == ours.choices[0].finish_reason
        assert theirs.usage is not None
        assert ours.usage is not None
        assert theirs.usage.prompt_tokens == ours.usage.prompt_tokens
        assert theirs.usage.completion_tokens == ours.usage.completion_tokens
        stream = plain.chat.completions.create(model="plain", stream=True, **asked)
        pieces = [one.choices[0].delta.content or "" for one in stream if one.choices]
        assert "".join(pieces) == ours.choices[0].message.content
        assert len(pieces) > 2
