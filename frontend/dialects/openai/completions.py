"""`POST /v1/completions`: one or many prompts, as text or token ids → choices in prompt order.

Pure. Choice number `prompt * n + index`. `echo` puts the prompt in front, with its log
probabilities when asked for; `max_tokens: 0` with `echo` scores a prompt. `best_of` draws more and
keeps the best.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.dialects.fields import Fields, is_token_ids
from frontend.dialects.openai.chat import finish_reason
from frontend.dialects.openai.sampling import (
    MAX_CHOICES,
    MAX_TOKENS,
    StreamOptions,
    read_identity,
    read_response_format,
    read_sampling,
    read_stream_options,
    structure_names,
)
from frontend.dialects.openai.usage import ChunkUsage, render_usage
from frontend.dialects.typed import make_generation
from frontend.domain.events import Event
from frontend.domain.generation import Generation, Passage
from frontend.domain.usage import Usage

_DEFAULT_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """A parsed completion request; `generations` has one entry per prompt."""

    model: str
    generations: list[Generation]
    n: int
    best_of: int
    echo: bool
    logprobs: int | None
    score_only: bool
    stream: bool
    stream_options: StreamOptions
    user: str | None
    token_ids: bool = False
    """Whether the answer has them beside its text."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the caller calls fields that errors name as the contract does."""


def parse_completion(body: object, max_prompts: int) -> CompletionCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    fields = Fields(body)
    model = fields.text("model")
    if not model:
        raise fields.refuse("model", "is required", code="missing_required_parameter")
    prompts = _prompts(fields, max_prompts)
    sampling = read_sampling(fields)
    schemas = read_response_format(fields, sampling)
    echo = fields.boolean("echo") or False
    prompts = _with_suffix(fields, prompts, echo)
    logprobs = fields.integer("logprobs", 0, 5)
    stream = fields.boolean("stream") or False
    if score_only := _max_tokens(fields, sampling, echo):  # no answer, nothing to hold it to
        sampling.pop("structured_outputs", None)
        schemas = ()
    n, best_of = _best_of(fields, sampling, stream)
    if (choices := len(prompts) * max(n, best_of)) > max_prompts:
        raise fields.refuse(
            "n", f"makes {choices} choices in all, at most {max_prompts} are allowed"
        )
    special = fields.boolean("add_special_tokens")
    stream_options = read_stream_options(fields, stream)
    token_ids = fields.boolean("return_token_ids") or False
    user = read_identity(fields)
    fields.finish()
    if logprobs is not None or best_of > n:
        sampling["logprobs"] = logprobs or 0
    if echo and (logprobs is not None or any("token_ids" in prompt for prompt in prompts)):
        sampling["prompt_logprobs"] = logprobs or 0
    if special is not None:
        prompts = [{**p, "add_special_tokens": special} if "text" in p else p for p in prompts]
    generations = [
        make_generation(
            prompt, sampling, _reading(prompt, token_ids), param="prompt", schemas=schemas
        )
        for prompt in prompts
    ]
    return CompletionCall(
        model,
        generations,
        n,
        best_of,
        echo,
        logprobs,
        score_only,
        stream,
        stream_options,
        user,
        token_ids,
        {"messages": "prompt", **structure_names(body)},
    )


def _reading(prompt: dict[str, Any], token_ids: bool) -> dict[str, Any] | None:
    """The text stays as the model writes it."""
    if "suffix" in prompt:
        return {"infill": True, **({"prompt_token_ids": True} if token_ids else {})}
    return {"raw": True, "prompt_token_ids": True} if token_ids else None


def _prompts(fields: Fields, most: int) -> list[dict[str, Any]]:
    prompt = fields.required("prompt")
    if isinstance(prompt, str):
        return [{"text": prompt}]
    if not isinstance(prompt, list) or not prompt:
        raise fields.refuse("prompt", "must be a string, token ids, or a non-empty list of these")
    if is_token_ids(prompt):  # one prompt, given as its tokens
        return [{"token_ids": prompt}]
    if len(prompt) > most:
        raise fields.refuse("prompt", f"has {len(prompt)} entries, at most {most} are allowed")
    if all(isinstance(one, str) for one in prompt):
        return [{"text": one} for one in prompt]
    if all(is_token_ids(one) and one for one in prompt):
        return [{"token_ids": one} for one in prompt]
    raise fields.refuse("prompt", "must be a string, token ids, or a non-empty list of these")


def _with_suffix(fields: Fields, prompts: list[dict[str, Any]], echo: bool) -> list[dict[str, Any]]:
    """Takes `suffix`: what comes after the text that is asked for, where the model can do that."""
    suffix = fields.text("suffix")
    if not suffix:
        return prompts
    if echo:
        raise fields.refuse("suffix", "cannot be combined with 'echo'")
    if any("text" not in prompt for prompt in prompts):
        raise fields.refuse("suffix", "needs prompts that are text, not token ids")
    return [{**prompt, "suffix": suffix} for prompt in prompts]


def _max_tokens(fields: Fields, sampling: dict[str, Any], echo: bool) -> bool:
    """Takes `max_tokens`; returns whether only the prompt is to be scored.

    The engine makes at least one token, which is then left out.
    """
    limit = fields.integer("max_tokens", 0, MAX_TOKENS)
    if limit == 0 and not echo:
        raise fields.refuse("max_tokens", "is 0, which is only allowed with 'echo': true")
    sampling["max_tokens"] = _DEFAULT_MAX_TOKENS if limit is None else max(1, limit)
    return limit == 0


def _best_of(fields: Fields, sampling: dict[str, Any], stream: bool) -> tuple[int, int]:
    n = sampling.get("n", 1)
    best_of = fields.integer("best_of", 1, MAX_CHOICES) or n
    if best_of < n:
        raise fields.refuse("best_of", f"is {best_of}, it must be at least 'n' ({n})")
    if best_of > n and stream:
        raise fields.refuse("best_of", "greater than 'n' cannot be streamed")
    if best_of > 1:
        sampling["n"] = best_of
    return n, best_of


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
        drawn = max(call.n, call.best_of)
        self._choices = [[_Choice() for _ in range(drawn)] for _ in call.generations]
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
        for prompt, drawn in enumerate(self._choices):
            kept = drawn
            if self._call.best_of > self._call.n:
                kept = sorted(drawn, key=lambda c: c.mean_logprob, reverse=True)[: self._call.n]
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
    """Renders a stream. What does not change between chunks is rendered once."""

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
        if event.prompt_logprobs is not None:  # in the first event of the prompt alone
            self._echoed[prompt] = echoed_tokens(event)
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
        end = b"]" + self._usage.told + b"}\n\n"
        return b"".join((self._head, b',"choices":[', orjson.dumps(choice), end))

    def _ids(self, event: Event) -> dict[str, Any]:
        if not self._call.token_ids:
            return {}
        told: dict[str, Any] = {}
        if event.prompt_token_ids is not None:
            told["prompt_token_ids"] = event.prompt_token_ids
        if told or (event.token_ids and not self._call.score_only):
            told["token_ids"] = [] if self._call.score_only else event.token_ids
        return told

    def last(self, usage: Usage | None) -> bytes:
        """The usage, when asked for, and the end mark."""
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
    """The text that tokens spell, multi-byte characters across tokens included."""
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
    """The likeliest tokens, and the one that was taken, if it is none of them."""
    if token["logprob"] is None:
        return None
    shown = {top["token"]: top["logprob"] for top in token.get("top") or []}
    return shown | {token["token"]: token["logprob"]}
