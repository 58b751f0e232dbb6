"""The script in a request to the echo engine, and the events that it produces.

Pure: the same prompt and sampling parameters always give the same events. One chunk is one token.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from python_backends.errors import InvalidInput

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Script:
    """The JSON object that a request's last message (or `text`) is; every field is optional."""

    text: str | None = None
    """The reply. Default: the last message, or nothing when that was the script."""
    chunks: int | None = None
    """How many pieces the reply comes in. Default: one per word."""
    delay_ms: float = 0
    """Pause before each chunk after the first."""
    first_delay_ms: float = 0
    """Pause before the first chunk."""
    events_per_response: int = 1
    """How many events travel in one response tensor."""
    finish_reason: str = "stop"
    fail_after: int | None = None
    """Fail after that many chunks, 0 before the first."""
    error: dict[str, Any] | None = None
    """`code`, `param`, `message`, `status` of the failure. Default: a failure without a marker."""
    never_finish: bool = False
    """After the last chunk, wait until cancelled."""
    crash: bool = False
    """Kill the process at the point of failure instead of answering."""
    reasoning: str = ""
    """Comes before the text."""
    tool_calls: list[dict[str, Any]] | None = None
    """Calls with `name` and `arguments` (a text); each comes in two deltas, before the text."""
    echo: bool = False
    """Reply with a JSON object of the `prompt` and `sampling_parameters` that arrived."""


def read_script(prompt: Fields, sampling: Fields) -> Script:
    """The script in a request, made of `sampling_parameters.script` or the last message.

    Raises InvalidInput for an unknown field.
    """
    said = last_text(prompt)
    script = sampling.get("script") or _json_object(said)
    if script is None:
        return Script(text=said)
    known = {field.name for field in fields(Script)}
    if unknown := sorted(set(script) - known):
        raise InvalidInput(f"unknown script field '{unknown[0]}'; known fields: {sorted(known)}")
    if script.get("echo"):
        received = {"prompt": dict(prompt), "sampling_parameters": dict(sampling)}
        return Script(**{**script, "text": json.dumps(received)})
    return Script(**script)


def last_text(prompt: Fields) -> str:
    """The text of the last message, or of the prompt when it has no messages."""
    if messages := prompt.get("messages"):
        content = messages[-1].get("content") or ""
        if isinstance(content, list):
            return "".join(str(part.get("text", "")) for part in content)
        return str(content)
    if "token_ids" in prompt:
        return " ".join(map(str, prompt["token_ids"]))
    return str(prompt.get("text", ""))


def count_tokens(prompt: Fields) -> int:
    """The echo engine's count of prompt tokens: the words of all messages, or the token ids."""
    if "token_ids" in prompt:
        return len(prompt["token_ids"])
    messages = prompt.get("messages") or [{"content": prompt.get("text", "")}]
    return sum(len(last_text({"messages": [message]}).split()) for message in messages)


def split(text: str, chunks: int | None) -> list[str]:
    """Cuts a text into `chunks` pieces that join to it; by words when `chunks` is None."""
    if chunks is None:
        words = text.split(" ")
        return [word + " " for word in words[:-1]] + [words[-1]] if text else []
    if chunks <= 0:
        return []
    # an empty reply of many chunks still needs text in each
    text = text or "token " * chunks
    edges = [round(i * len(text) / chunks) for i in range(chunks + 1)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def events(script: Script, prompt: Fields, sampling: Fields) -> Iterator[dict[str, Any]]:
    """Every event of an uninterrupted reply, in order, completions interleaved."""
    text, stop = _stop_at(script.text or "", sampling)
    pieces = split(text, script.chunks)
    limit = sampling.get("max_tokens")
    reason: tuple[str, str | None] = (script.finish_reason, stop)
    if limit is not None and limit < len(pieces):
        pieces, reason = pieces[: int(limit)], ("length", None)
    prompt_tokens = count_tokens(prompt)
    for special in _specials(script):
        for index in range(int(sampling.get("n") or 1)):
            yield {**_event(index, prompt_tokens, 0), **special}
    # an empty reply needs an event as well: the finish reason is in one
    for number, piece in enumerate(pieces or [""], start=1):
        for index in range(int(sampling.get("n") or 1)):
            last = number >= len(pieces) and not script.never_finish
            yield {
                **_event(index, prompt_tokens, number if pieces else 0),
                "text": piece,
                "token_ids": [number] if pieces else [],
                "logprobs": _logprobs(piece, number, sampling) if pieces else None,
                "finish_reason": reason[0] if last else None,
                "stop_reason": reason[1] if last else None,
            }


def _specials(script: Script) -> Iterator[dict[str, Any]]:
    """The events before the text."""
    if script.reasoning:
        yield {"reasoning": script.reasoning}
    for number, call in enumerate(script.tool_calls or ()):
        arguments = str(call["arguments"])
        # cut inside the JSON text: clients must join deltas before they parse them
        half = len(arguments) // 2
        first = {"index": number, "id": f"call-{number}", "name": call["name"]}
        yield {"tool_calls": [{**first, "arguments": arguments[:half]}]}
        yield {"tool_calls": [{"index": number, "arguments": arguments[half:]}]}


def abort_event(index: int, prompt_tokens: int, sent: int) -> dict[str, Any]:
    """The last event of a cancelled completion."""
    return {**_event(index, prompt_tokens, sent), "finish_reason": "abort"}


def _event(index: int, prompt_tokens: int, sent: int) -> dict[str, Any]:
    return {
        "index": index,
        "text": "",
        "token_ids": [],
        "logprobs": None,
        "finish_reason": None,
        "stop_reason": None,
        "usage": usage(prompt_tokens, sent),
    }


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "cached_tokens": 0,
        "completion_tokens": completion_tokens,
    }


def _stop_at(text: str, sampling: Fields) -> tuple[str, str | None]:
    stops = sampling.get("stop") or []
    places = [
        (text.index(stop), stop)
        for stop in ([stops] if isinstance(stops, str) else stops)
        if stop in text
    ]
    return (text[: min(places)[0]], min(places)[1]) if places else (text, None)


def _logprobs(piece: str, token_id: int, sampling: Fields) -> list[dict[str, Any]] | None:
    count = sampling.get("logprobs")
    if count is None:
        return None
    token = {"token": piece, "id": token_id, "bytes": list(piece.encode()), "logprob": -0.5}
    other = {"token": "other", "id": 0, "bytes": list(b"other"), "logprob": -1.0}
    return [{**token, "top": [token, other, *[other] * count][:count]}]


def _json_object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
