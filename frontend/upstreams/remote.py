"""The base of all upstreams with an HTTP API: their models, and methods that they do not offer.

They report little about their models, so the operator may declare more; declarations take
precedence.
"""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from frontend.domain.events import Events
from frontend.domain.generation import Generation, Tokenized
from frontend.domain.images import ImageRequest, ImageResult
from frontend.domain.models import Input, Model, Version
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.errors import (
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    ContextOverflow,
    GatewayError,
    InvalidRequest,
    NotSupported,
    UpstreamBusy,
    clip,
)
from frontend.upstreams.declared import Declared, declare
from frontend.upstreams.protocol import Call, Figures
from frontend.upstreams.web import Refused, Web

_log = logging.getLogger(__name__)
UNREADABLE = "the model server sent an answer that cannot be read"
BROKEN = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading an answer raises that does not look as it must."""
_MAX_NAME = 512
_TOO_LONG = re.compile(
    r"maximum context length|prompt is too long|exceeds? the (?:available )?context|context holds"
)
"""In the messages of vLLM and OpenAI, Anthropic, llama.cpp and Ollama, and of this gateway."""
CHAT = frozenset({"chat", "completion"})


@dataclass(slots=True)
class Remote:
    """A server behind HTTP. `declared`: by the server's own names; empty: all of its models."""

    web: Web
    engine: str
    declared: Mapping[str, Declared] = field(default_factory=dict)
    figures: Figures | None = None
    _own: dict[str, str] = field(default_factory=dict)

    async def listed(self) -> list[Model]:
        """The models that the server lists. Raises GatewayError if it does not answer."""
        raise NotImplementedError

    async def models(self) -> list[Model]:
        """The server's models, as the operator declares them."""
        try:
            listed = {model.name: model for model in await self.listed()}
        except Refused as refused:
            raise failure(refused, "models") from None
        chosen = self.declared or {name: Declared(name, name) for name in listed}
        made = {own: declare(listed[own], facts) for own, facts in chosen.items() if own in listed}
        self._own = {model.name: own for own, model in made.items()}
        return [*made.values()]

    def own(self, model: Model) -> str:
        """The server's own name of a model."""
        return self._own.get(model.name, model.name)

    async def read(self, path: str, body: Any, call: Call) -> Any:
        """The JSON of an answer. Raises GatewayError if the server refuses or fails."""
        try:
            return await self.web.post(path, body, call)
        except Refused as refused:
            raise failure(refused, call.id) from None

    async def health(self) -> bool:
        """Whether the server lists its models."""
        try:
            await self.listed()
        except (GatewayError, Refused):
            return False
        return True

    def generate(self, model: Model, generation: Generation, call: Call) -> Events:
        """Not offered, unless a kind of server says otherwise."""
        raise _unable(self.engine, "generate text")

    async def embed(self, model: Model, embedding: Embedding, call: Call) -> Vectors:
        """Not offered, unless a kind of server says otherwise."""
        raise _unable(self.engine, "embed texts")

    async def rerank(self, model: Model, pairs: Pairs, call: Call) -> Scores:
        """Not offered, unless a kind of server says otherwise."""
        raise _unable(self.engine, "rank documents")

    async def draw(self, model: Model, image: ImageRequest, call: Call) -> ImageResult:
        """Not offered, unless a kind of server says otherwise."""
        raise _unable(self.engine, "make images")

    async def count(self, model: Model, generation: Generation, call: Call) -> int:
        """Not offered, unless a kind of server says otherwise."""
        raise _unable(self.engine, "count tokens")

    async def tokenize(
        self, model: Model, generation: Generation, call: Call, *, strings: bool
    ) -> Tokenized:
        """Not offered, unless a kind of server says otherwise."""
        raise _unable(self.engine, "show its tokens")

    async def detokenize(self, model: Model, ids: list[int], call: Call) -> str:
        """Not offered, unless a kind of server says otherwise."""
        raise _unable(self.engine, "turn tokens into text")

    @property
    def manages_models(self) -> bool:
        """The server decides by itself what it loads."""
        return False

    @property
    def shares_calls(self) -> bool:
        """The server batches requests by itself, and counts their tokens together."""
        return False

    @property
    def reads_calls(self) -> bool:
        """Arguments are JSON objects, unless a kind of server says otherwise."""
        return False

    async def stored(self) -> dict[str, list[Version]]:
        """No model can be loaded by name."""
        return {}

    async def on_demand(self) -> list[Model]:
        """The server decides by itself."""
        return []

    async def load(self, name: str) -> None:
        """Not offered."""
        raise _unable(self.engine, "load models for this gateway")

    async def unload(self, name: str) -> None:
        """Not offered."""
        raise _unable(self.engine, "unload models for this gateway")

    def abandon(self) -> None:
        """Ends every running call; each raises Overloaded."""
        self.web.abandon()

    async def close(self) -> None:
        """Closes the connections."""
        await self.web.close()


def _unable(engine: str, what: str) -> NotSupported:
    return NotSupported(f"the model server ({engine}) does not {what}")


def make_model(
    name: str,
    capabilities: Collection[str],
    *,
    context_length: int | None = None,
    images: bool = False,
    owned_by: str = "",
    created_s: int = 0,
) -> Model:
    """A model as a server lists it. Raises ValueError for a name that cannot be one."""
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise ValueError(name[:_MAX_NAME])
    if type(context_length) is not int or context_length < 1:
        context_length = None
    able = frozenset(capabilities)
    kind = next((one for one in ("embedding", "rerank") if one in able), "llm")
    kind = "diffusion" if "image" in able else "llm" if "chat" in able else kind
    accepts = {Input.TOOLS, Input.IMAGES} if images else {Input.TOOLS}
    if kind == "embedding":
        accepts = {Input.TOKEN_IDS}
    return Model(
        name, kind, (), able, context_length, None, None, owned_by, created_s, frozenset(accepts)
    )


def failure(refused: Refused, call_id: str, message: str | None = None) -> GatewayError:
    """The error for a server's refusal. What it says about the request is for the caller, all else
    only for the log and the audit."""
    text = message or text_of(refused.body)
    return _failure(refused.status, text, call_id).caused_by(text)


def _failure(status: int, text: str, call_id: str) -> GatewayError:
    if status in (400, 404, 413, 422) and call_id != "models" and text:
        return InvalidRequest(f"the model server refused the request: {text}")
    # never to the caller: it may name the gateway's key or addresses
    _log.warning(
        "request %s: the upstream answered %d",
        call_id,
        status,
        extra={"id": call_id, "upstream_text": clip(text, 500)},
    )
    if status in (401, 402, 403):
        return BackendFailed("the model server refused the gateway's key")
    if status in (429, 529):
        return UpstreamBusy("the model server does not accept more requests now; try again later")
    if status in (408, 504):
        return BackendTimeout("the request took longer than the model server allows")
    if status in (404, 503):
        return BackendUnavailable("the model is not available now; try again later")
    return BackendFailed(f"the model failed; request id {call_id}")


def refusal(refused: Refused, model: Model, generation: Generation, call: Call) -> GatewayError:
    """The error for a refused generation: the prompt is too long, or as `failure` has it."""
    text = text_of(refused.body)
    error = refused.body.get("error") if isinstance(refused.body, dict) else None
    is_named = isinstance(error, dict) and error.get("code") == ContextOverflow.code
    if model.context_length is None or not (is_named or _TOO_LONG.search(text)):
        return failure(refused, call.id)
    return ContextOverflow(text, param=generation.param, limit=model.context_length)


def text_of(body: Any) -> str:
    """The message in the error of any of the dialects; empty where there is none."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or ""
    return error if isinstance(error, str) else ""


def unsupported(field_: str, engine: str) -> NoReturn:
    """Refuses a field that the server cannot honour."""
    raise InvalidRequest(
        f"'{field_}' is not supported by the model server ({engine})",
        param=field_,
        code="unsupported_parameter",
    )
