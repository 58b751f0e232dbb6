"""The same requests to the gateway and to vLLM's own OpenAI server over the same weights.

Same chunks after joining, same usage, same log probabilities.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from benchmarks.chain import vllm_server
from tests.e2e.conftest import CHAT

pytestmark = pytest.mark.timeout(600)
END = "<|im_end|>"
ASK: Any = [{"role": "user", "content": "Name three fruits and draw an emoji 🍌 of each."}]
COLOURS = {"type": "object", "properties": {"colour": {"enum": ["red", "green", "blue"]}}}
COLOURS |= {"required": ["colour"], "additionalProperties": False}


@pytest.fixture(scope="module")
def peer(repository: Path) -> Iterator[OpenAI]:
    """vLLM's own server."""
    with (
        vllm_server(repository, CHAT) as port,
        OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        yield sdk


def close(ours: float, theirs: float) -> bool:
    """Within what bfloat16 leaves: both engines compute in it, and whether two prompts meet in one
    step, or find a part in the prefix cache, changes how sums are rounded (0.014 was seen)."""
    return abs(ours - theirs) < 0.05


def check_tokens(ours: Any, theirs: Any) -> None:
    """Chat's log probabilities, token by token.

    Where tokens are pieces of a character, ours hold their own bytes; vLLM's first ones are empty
    and the last one all, if it still comes. So bytes are compared joined, up to there. vLLM puts a
    sampled token before the likeliest, so one of these may be missing there.
    """
    assert [t.token for t in ours] == [t.token for t in theirs]
    own_bytes, other_bytes = _bytes(ours), _bytes(theirs)
    assert own_bytes[: len(other_bytes)] == other_bytes
    assert len(own_bytes) - len(other_bytes) < 4
    for own, other in zip(ours, theirs, strict=True):
        assert close(own.logprob, other.logprob)
        mine, its = (sorted(one.logprob for one in of.top_logprobs) for of in (own, other))
        assert len(mine) == len(its)
        known = [value for value in its if any(close(value, one) for one in mine)]
        assert len(known) >= len(mine) - 1


def _bytes(tokens: Any) -> list[int]:
    return [one for token in tokens for one in token.bytes or ()]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0, "max_tokens": 40},
        {"temperature": 0.9, "seed": 7, "max_tokens": 40, "top_p": 0.9},
        {"temperature": 0, "max_tokens": 40, "stop": ["\n2", "."]},
        {"temperature": 0.7, "seed": 1, "presence_penalty": 1, "frequency_penalty": 0.5},
        {"temperature": 0.8, "seed": 3, "extra_body": {"top_k": 20, "min_p": 0.05}},
        {
            "temperature": 0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "c", "schema": COLOURS},
            },
        },
    ],
)
def test_chat_streams_join_to_the_same(
    client: OpenAI, peer: OpenAI, options: dict[str, Any]
) -> None:
    asked: Any = {"model": CHAT, "messages": ASK, "max_tokens": 24, **options}
    asked |= {"logprobs": True, "top_logprobs": 3, "stream": True}
    asked["stream_options"] = {"include_usage": True}
    joined = [_joined(sdk.chat.completions.create(**asked)) for sdk in (client, peer)]
    (text, reason, usage, tokens), (peer_text, peer_reason, peer_usage, peer_tokens) = joined
    assert (text, reason, usage) == (peer_text, peer_reason, peer_usage)
    ends = bool(peer_tokens) and peer_tokens[-1].token == END  # which is not part of the content
    check_tokens(tokens, peer_tokens[:-1] if ends else peer_tokens)


def _joined(stream: Any) -> tuple[str, str | None, tuple[int, int, int], list[Any]]:
    text, reason, tokens, usage = "", None, [], (0, 0, 0)
    for chunk in stream:
        if chunk.usage is not None:
            counted = chunk.usage
            usage = (counted.prompt_tokens, counted.completion_tokens, counted.total_tokens)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            tokens += choice.logprobs.content if choice.logprobs else []
    return text, reason, usage, tokens


def test_several_choices_are_the_same(client: OpenAI, peer: OpenAI) -> None:
    asked: Any = {"model": CHAT, "messages": ASK, "n": 3, "seed": 5, "max_tokens": 12}
    ours, theirs = (sdk.chat.completions.create(**asked) for sdk in (client, peer))
    assert [c.message.content for c in ours.choices] == [c.message.content for c in theirs.choices]
    assert ours.usage is not None
    assert theirs.usage is not None
    assert ours.usage.completion_tokens == theirs.usage.completion_tokens


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 10, "logprobs": 2},
        {"max_tokens": 1, "logprobs": 1, "echo": True},
        {"max_tokens": 8, "logprobs": 0, "seed": 4, "temperature": 1, "n": 2},
    ],
)
def test_completions_are_the_same(client: OpenAI, peer: OpenAI, options: dict[str, Any]) -> None:
    asked: Any = {"model": CHAT, "prompt": ["The sky is", "Zürich ist"], "temperature": 0}
    ours, theirs = (sdk.completions.create(**{**asked, **options}) for sdk in (client, peer))
    assert ours.usage is not None
    assert theirs.usage is not None
    assert ours.usage.total_tokens == theirs.usage.total_tokens
    for own, other in zip(ours.choices, theirs.choices, strict=True):
        assert (own.index, own.text, own.finish_reason) == (
            other.index,
            other.text,
            other.finish_reason,
        )
        assert own.logprobs is not None
        assert other.logprobs is not None
        assert own.logprobs.tokens == other.logprobs.tokens
        assert own.logprobs.text_offset == other.logprobs.text_offset
        pairs = zip(
            own.logprobs.token_logprobs or (), other.logprobs.token_logprobs or (), strict=True
        )
        for mine, its in pairs:
            assert (mine is None and its is None) or close(mine, its)  # type: ignore[arg-type]
