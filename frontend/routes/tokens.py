"""Tokens of texts and conversations, and texts of tokens, as vLLM's server has these routes."""

from dataclasses import dataclass

from frontend.dialects.openai.tokens import (
    parse_detokenize,
    parse_tokenize,
    render_text,
    render_tokens,
)
from frontend.dialects.refusal import MISSING, refuse
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.http.bounds import Bounds
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class TokenRoutes:
    """Tokenizing runs in the model's own first step, scheduled as every other request."""

    path: Path
    bounds: Bounds

    async def tokenize(self, request: Request, client: Client) -> None:
        """POST /tokenize"""
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(request, parse_tokenize, body, self.bounds.messages)
        name = call.model or self._only(call.capability)
        with client.watched():
            async with self.path.open(request, name, call.capability) as run:
                tokens = await run.tokenize(call.generation, strings=call.strings)
                await client.respond(render_tokens(tokens, run.model))

    async def detokenize(self, request: Request, client: Client) -> None:
        """POST /detokenize"""
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(request, parse_detokenize, body)
        name = call.model or self._only("completion")
        with client.watched():
            async with self.path.open(request, name, "completion") as run:
                await client.respond(render_text(await run.detokenize(call.ids)))

    def _only(self, capability: str) -> str:
        """The model of a request that does not name one. Raises InvalidRequest unless exactly one
        model has the capability."""
        able = [one.name for one in self.path.fleet.models if capability in one.capabilities]
        if len(able) == 1:
            return able[0]
        raise refuse("model", "is required; GET /v1/models lists the models", code=MISSING)
