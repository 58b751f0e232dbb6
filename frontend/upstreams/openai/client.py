"""One server that speaks OpenAI's API as an upstream.

What only some servers offer (`/tokenize`, `/v1/rerank`, vLLM's metrics) is asked for where it is
needed, and a server without it says so. Closing a stream ends the connection, which cancels the
work.
"""

import base64
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from frontend.domain.events import Events
from frontend.domain.generation import Conversation, Generation, Tokenized
from frontend.domain.images import ImageRequest, ImageResult
from frontend.domain.models import Model
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.errors import BackendFailed, ContextOverflow, GatewayError
from frontend.upstreams.counting import count_by_generating
from frontend.upstreams.openai.read import Reading
from frontend.upstreams.openai.slots import find_slots
from frontend.upstreams.openai.write import is_chat, is_strict, write_body, write_prompt
from frontend.upstreams.protocol import Call, Figures
from frontend.upstreams.remote import (
    BROKEN,
    CHAT,
    UNREADABLE,
    Remote,
    failure,
    make_model,
    refusal,
    unsupported,
)
from frontend.upstreams.web import Refused

_LIST_S = 5.0
_METRICS_BYTES = 4 * 2**20
_METRIC = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|"
    r"gpu_cache_usage_perc)(?:\{[^}]*\})? ([0-9.eE+-]+)$",
    re.MULTILINE,
)


@dataclass(slots=True)
class OpenAi(Remote):
    """`engine` says which server it is: vllm, tgi, llama.cpp, lmstudio, mistral.rs or openai.
    `slots`: requests that it runs at once, asked for once."""

    slots: int | None = None
    _asked: bool = False

    @property
    def reads_calls(self) -> bool:
        """Its API has arguments as text."""
        return True

    async def listed(self) -> list[Model]:
        """From `/v1/models`, with vLLM's figures of its load where it has them."""
        answer = await self.web.read("GET", "/v1/models", timeout_s=_LIST_S)
        if self.slots is None and not self._asked:
            self.slots, self._asked = await find_slots(self.web, self.engine), True
        said = await self._figures() if self.engine == "vllm" else None
        self.figures = replace(said or Figures(), slots=self.slots)
        try:
            return [_model(one, self.engine) for one in answer["data"]]
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None

    async def _figures(self) -> Figures | None:
        try:
            text = await self.web.text("/metrics", _LIST_S, _METRICS_BYTES)
        except (GatewayError, Refused):
            return None
        sums: dict[str, float] = {}
        for name, value in _METRIC.findall(text):
            with suppress(ValueError):  # such as `1-2`
                sums[name] = sums.get(name, 0.0) + float(value)
        used = sums.get("kv_cache_usage_perc", sums.get("gpu_cache_usage_perc"))
        return Figures(sums.get("num_requests_running"), sums.get("num_requests_waiting"), used)

    async def generate(self, model: Model, generation: Generation, call: Call) -> Events:
        """The events of one generation, as they come."""
        body = write_body(self.own(model), generation, self.engine)
        path = "/v1/chat/completions" if is_chat(generation) else "/v1/completions"
        reading = Reading()
        try:
            async with aclosing(self._chunks(path, body, call)) as groups:
                async for chunks in groups:
                    if events := [event for chunk in chunks for event in reading.read(chunk)]:
                        yield events
        except Refused as refused:
            raise _failure(refused, model, generation, call) from None
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None
        if last := reading.finish():
            yield last

    async def _chunks(
        self, path: str, body: dict[str, Any], call: Call
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        async with aclosing(self.web.lines(path, body, call, _is_done)) as groups:
            async for lines in groups:
                # what else there is are comments and names of events
                yield [_chunk_of(line) for line in lines if line.startswith(b"data:")]

    async def embed(self, model: Model, embedding: Embedding, call: Call) -> Vectors:
        """All texts in one request."""
        texts: Any = embedding.texts if embedding.ids is None else embedding.ids
        body = {"model": self.own(model), "input": texts, "encoding_format": "float"}
        if embedding.truncate and self.engine == "vllm":
            body["truncate_prompt_tokens"] = -1
        answer = await self.read("/v1/embeddings", body, call)
        try:
            rows = [one["embedding"] for one in sorted(answer["data"], key=lambda d: d["index"])]
            usage = answer.get("usage") or {}
            return _vectors(rows, len(texts), int(usage.get("prompt_tokens") or 0))
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None

    async def rerank(self, model: Model, pairs: Pairs, call: Call) -> Scores:
        """One request for each different query."""
        values, tokens = [0.0] * len(pairs.documents), 0
        for query in dict.fromkeys(pairs.queries):
            places = [n for n, one in enumerate(pairs.queries) if one == query]
            documents = [pairs.documents[n] for n in places]
            body = {"model": self.own(model), "query": query, "documents": documents}
            answer = await self.read("/v1/rerank", body, call)
            try:
                for one in answer["results"]:
                    values[places[one["index"]]] = float(one["relevance_score"])
                tokens += int((answer.get("usage") or {}).get("total_tokens") or 0)
            except BROKEN:
                raise BackendFailed(UNREADABLE) from None
        return Scores(values, tokens)

    async def draw(self, model: Model, image: ImageRequest, call: Call) -> ImageResult:
        """All images in one request."""
        body: dict[str, Any] = {
            "model": self.own(model), "prompt": image.prompt, "n": image.count,
            "response_format": "b64_json",
        }  # fmt: skip
        if image.width and image.height:
            body["size"] = f"{image.width}x{image.height}"
        for name in ("negative_prompt", "steps", "guidance", "seed", "stop_after"):
            if (value := getattr(image, name)) is not None:
                if is_strict(self.engine) or name == "stop_after":
                    unsupported(name, self.engine)
                body[name] = value
        answer = await self.read("/v1/images/generations", body, call)
        try:
            files = [base64.b64decode(one["b64_json"]) for one in answer["data"]]
            return ImageResult(files, int((answer.get("usage") or {}).get("input_tokens") or 0))
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None

    async def count(self, model: Model, generation: Generation, call: Call) -> int:
        """By `/tokenize` where the server has it, else by an answer of one token."""
        if not is_strict(self.engine):
            try:
                return len((await self._tokens(model, generation, call, strings=False)).ids)
            except Refused:
                pass  # it has no such route
        return await count_by_generating(self, model, generation, call)

    async def tokenize(
        self, model: Model, generation: Generation, call: Call, *, strings: bool
    ) -> Tokenized:
        """As vLLM's `/tokenize` does it."""
        try:
            return await self._tokens(model, generation, call, strings=strings)
        except Refused as refused:
            if refused.status in (404, 405):
                return await Remote.tokenize(self, model, generation, call, strings=strings)
            raise failure(refused, call.id) from None

    async def _tokens(
        self, model: Model, generation: Generation, call: Call, *, strings: bool
    ) -> Tokenized:
        body = {"model": self.own(model), **write_prompt(generation)}
        prompt = generation.prompt
        if isinstance(prompt, Conversation):
            if prompt.opened is not None:
                body["add_generation_prompt"] = prompt.opened
            if prompt.template_options:
                body["chat_template_kwargs"] = dict(prompt.template_options)
        if strings:
            body["return_token_strs"] = True
        answer = await self.web.post("/tokenize", body, call)
        try:
            return Tokenized(list(map(int, answer["tokens"])), answer.get("token_strs"))
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None

    async def detokenize(self, model: Model, ids: list[int], call: Call) -> str:
        """As vLLM's `/detokenize` does it."""
        body = {"model": self.own(model), "tokens": ids}
        answer = await self.read("/detokenize", body, call)
        try:
            return str(answer["prompt"])
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None


def _vectors(rows: list[list[float]], count: int, tokens: int) -> Vectors:
    array = np.asarray(rows, dtype="<f4")
    if array.ndim != 2 or array.shape[0] != count or array.shape[1] == 0:
        raise ValueError(array.shape)
    return Vectors(array.tobytes(), count, array.shape[1], tokens)


def _model(one: dict[str, Any], engine: str) -> Model:
    """vLLM and this gateway say more than OpenAI; a server that does not say it serves text."""
    said = one.get("capabilities")
    capabilities = [str(each) for each in said] if isinstance(said, list) else [*CHAT]
    length = one.get("max_model_len") or one.get("context_length")
    length = length or (one.get("meta") or {}).get("n_ctx_train")
    model = make_model(
        str(one["id"]),
        capabilities,
        context_length=int(length) if length else None,
        images=isinstance(said, list) and "vision" in said,
        owned_by=str(one.get("owned_by") or engine),
        created_s=int(one.get("created") or 0),
    )
    kind = one.get("kind")
    dimensions = one.get("dimensions")
    return replace(
        model,
        kind=str(kind) if kind else model.kind,
        dimensions=int(dimensions) if dimensions else None,
    )


def _is_done(line: bytes) -> bool:
    return line.startswith(b"data:") and line[5:].strip() == b"[DONE]"


def _chunk_of(line: bytes) -> dict[str, Any]:
    chunk: dict[str, Any] = orjson.loads(line[5:])
    if "error" in chunk or chunk.get("object") == "error":
        error = chunk.get("error") or chunk
        code = error.get("code") if isinstance(error, dict) else None
        raise Refused(code if isinstance(code, int) else 500, chunk)
    return chunk


def _failure(refused: Refused, model: Model, generation: Generation, call: Call) -> GatewayError:
    made = refusal(refused, model, generation, call)
    error = refused.body.get("error") if isinstance(refused.body, dict) else None
    is_plain = made.status == 400 and not isinstance(made, ContextOverflow)
    if is_plain and isinstance(error, dict) and isinstance(error.get("param"), str):
        made.param = error["param"]
    return made
