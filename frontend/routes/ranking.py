"""Reranking: queries and documents → scores."""

from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from frontend.dialects.openai.ranking import (
    RankCall,
    parse_rerank,
    parse_score,
    render_rerank,
    render_score,
)
from frontend.domain.usage import Usage
from frontend.domain.vectors import Scores
from frontend.generation.run import Runner
from frontend.http.client import Client
from frontend.http.send import send_bytes
from frontend.http.trace import current
from frontend.routes.openai import Bounds


@dataclass(frozen=True, slots=True)
class RankingRoutes:
    """One ASGI application per route; `frontend.app` has the table."""

    runner: Runner
    bounds: Bounds

    async def rerank(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/rerank and /rerank tell documents unless asked not to, /v2/rerank if asked."""
        client = Client(scope, receive, send, self.bounds.client_timeout_s)
        body = await client.read_json(self.bounds.body)
        told = not scope["path"].startswith("/v2")
        call = self.bounds.parse(parse_rerank, body, self.bounds.inputs, with_documents=told)
        with client.watched():
            scores = await self._rank(call)
            answer = render_rerank(call, scores, current().id, current().model or call.model)
            await send_bytes(client.send, answer)

    async def score(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/score and /score"""
        client = Client(scope, receive, send, self.bounds.client_timeout_s)
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(parse_score, body, self.bounds.inputs)
        with client.watched():
            scores = await self._rank(call)
            answer = render_score(scores, current().id, current().model or call.model)
            await send_bytes(client.send, answer)

    async def _rank(self, call: RankCall) -> Scores:
        model = await self.runner.find(call.model, "rerank")
        current().model = model.name
        scores = await self.runner.rank(model, call.ranking, current().id)
        current().usage = Usage(scores.prompt_tokens)
        return scores
