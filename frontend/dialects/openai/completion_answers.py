"""Renders events as the answer of `/v1/completions`, whole or as chunks. Pure.

The number of a choice is `prompt * n + index`. `echo` adds the prompt in front, with its log
probabilities if requested; `best_of` generates more choices and keeps the best.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.dialects.openai.chat_answers import finish_reason
from frontend.dialects.openai.completions import CompletionCall
from frontend.dialects.openai.usage import ChunkUsage, render_usage
from frontend.domain.events import Event
from frontend.domain.generation import Passage
from frontend.domain.usage import Usage


@dataclass(slots=True)
class _Choice:
    texts: list[str] = field(default_factory=list)
    reason: str | None = None
    tokens: list[dict[str, Any]] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)

    @property
    def mean_logprob(self) -> float:
        """The score that `best_of` compares: log probability per token."""
        return float(sum(t["logprob"] for t in self.tokens)) / max(1, len(self.tokens))


class CompletionAnswer:
    """Collects the events of a unary request."""

    def __init__(
        self, call: CompletionCall, answer_id: str, model: str, fingerprint: str | None = None
    ) -> None:
        self._call = call
        self._id = answer_id
        self._model = model
        self._fingerprint = fingerprint
        self._prompt_ids: dict[int, list[int]] = {}
        generated = max(call.n, call.best_of)
        self._choices = [[_Choice() for _ in range(generated)] for _ in call.generations]
        self._echoed: dict[int, list[dict[str, Any]]] = {}

    def add(self, prompt: int, event: Event) -> None:
        """Takes one event of prompt number `prompt`."""
        choice = self._choices[prompt][event.index]
        if event.prompt_logprobs is not None:
            self._echoed[prompt] = echoed_tokens(event)
        choice.reason = event.finish_reason or choice.reason
        if event.prompt_token_ids is not None:
            self._prompt_ids[prompt] = event.prompt_token_ids
        if not self._call.score_only:
            choice.texts.append(event.text)
            choice.token_ids += event.token_ids
            choice.tokens += event.logprobs or []

    def render(self, usage: Usage) -> bytes:
        """The response body."""
        if self._call.score_only:
            # what the engine had to generate for a score is not part of the answer
            usage = Usage(usage.prompt_tokens, usage.cached_tokens, 0)
        return orjson.dumps(
            {
                "id": f"cmpl-{self._id}",
                "object": "text_completion",
                "created": int(time.time()),
                "model": self._model,
                "choices": self._render_choices(),
                "usage": render_usage(usage),
                "system_fingerprint": self._fingerprint,
            }
        )

    def _render_choices(self) -> list[dict[str, Any]]:
        rendered: list[dict[str, Any]] = []
        for prompt, generated in enumerate(self._choices):
            kept = generated
            if self._call.best_of > self._call.n:
                # the sort is stable: equal ones stay in their order
                kept = sorted(generated, key=lambda c: c.mean_logprob, reverse=True)[: self._call.n]
            for choice in kept:
                rendered.append(self._render_choice(len(rendered), prompt, choice))
        return rendered

    def _render_choice(self, index: int, prompt: int, choice: _Choice) -> dict[str, Any]:
        text, tokens = "".join(choice.texts), choice.tokens
        if self._call.echo:
            echoed = self._echoed.get(prompt, [])
            given = self._call.generations[prompt].prompt
            text = (given.text if isinstance(given, Passage) else joined_text(echoed)) + text
            tokens = echoed + tokens
        logprobs = None if self._call.logprobs is None else render_logprobs(tokens, 0)
        reason = "length" if self._call.score_only else finish_reason(choice.reason)
        shown = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        if self._call.token_ids:
            prompt_ids = self._prompt_ids.get(prompt)
            shown |= {"token_ids": choice.token_ids, "prompt_token_ids": prompt_ids}
        return shown


class CompletionChunks:
    """Renders a stream. The constant part of the chunks is rendered once."""

    def __init__(
        self, call: CompletionCall, answer_id: str, model: str, fingerprint: str | None = None
    ) -> None:
        head = {
            "id": f"cmpl-{answer_id}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._call = call
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._usage = ChunkUsage(call.stream_options)
        self._offsets: dict[int, int] = {}
        self._echoed: dict[int, list[dict[str, Any]]] = {}

    def chunk(self, prompt: int, event: Event) -> bytes:
        """One event of prompt number `prompt`."""
        call = self._call
        index = prompt * call.n + event.index
        self._usage.see(event, prompt)
        text = "" if call.score_only else event.text
        tokens = [] if call.score_only else event.logprobs or []
        if event.prompt_logprobs is not None:  # only in the first event of the prompt
            self._echoed[prompt] = echoed_tokens(event)
        # with the first text of each choice, which all begin with the same prompt
        if call.echo and index not in self._offsets:
            echoed = self._echoed.get(prompt, [])
            given = call.generations[prompt].prompt
            text = (given.text if isinstance(given, Passage) else joined_text(echoed)) + text
            tokens = echoed + tokens
        reason = None
        if event.finish_reason is not None:
            reason = "length" if call.score_only else finish_reason(event.finish_reason)
        offset = self._offsets.get(index, 0)
        self._offsets[index] = offset + sum(len(token["token"]) for token in tokens)
        ids = self._ids(event)
        if not text and not tokens and reason is None and not ids:
            return b""
        choice = {
            "index": index,
            "text": text,
            "logprobs": None if call.logprobs is None else render_logprobs(tokens, offset),
            "finish_reason": reason,
            **ids,
        }
        end = b"]" + self._usage.field + b"}\n\n"
        return b"".join((self._head, b',"choices":[', orjson.dumps(choice), end))

    def _ids(self, event: Event) -> dict[str, Any]:
        if not self._call.token_ids:
            return {}
        ids: dict[str, Any] = {}
        if event.prompt_token_ids is not None:
            ids["prompt_token_ids"] = event.prompt_token_ids
        if ids or (event.token_ids and not self._call.score_only):
            ids["token_ids"] = [] if self._call.score_only else event.token_ids
        return ids

    def last(self, usage: Usage | None) -> bytes:
        """The usage, if requested, and the end mark."""
        if usage is None:
            return b"data: [DONE]\n\n"
        if self._call.score_only:
            usage = Usage(usage.prompt_tokens, usage.cached_tokens, 0)
        counts = orjson.dumps(render_usage(usage))
        return self._head + b',"choices":[],"usage":' + counts + b"}\n\ndata: [DONE]\n\n"


def echoed_tokens(event: Event) -> list[dict[str, Any]]:
    """The prompt's tokens in the shape of generated ones; the first has no log probability."""
    ids = event.prompt_token_ids or []
    tokens = []
    for position, token in enumerate(event.prompt_logprobs or []):
        known = token or {"token": "", "bytes": [], "id": ids[position] if ids else 0}
        tokens.append({"logprob": None, "top": None, **known})
    return tokens


def joined_text(tokens: list[dict[str, Any]]) -> str:
    """The joined text of tokens, including characters that span several tokens."""
    return b"".join(bytes(token.get("bytes") or []) for token in tokens).decode(errors="replace")


def render_logprobs(tokens: list[dict[str, Any]], offset: int) -> dict[str, Any]:
    """The legacy columns; `text_offset` counts characters from the start of the choice's text."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token["token"])
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [_top(token) for token in tokens],
        "text_offset": offsets,
    }


def _top(token: dict[str, Any]) -> dict[str, float] | None:
    """The likeliest tokens, and the one that was chosen, if it is not among them."""
    if token["logprob"] is None:
        return None
    shown = {top["token"]: top["logprob"] for top in token.get("top") or []}
    return shown | {token["token"]: token["logprob"]}
