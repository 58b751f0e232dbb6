"""Reranking and scoring: queries and documents → scores, as Jina's, Cohere's and vLLM's APIs."""

from dataclasses import dataclass

from frontend.dialects.openai.rerank import parse_rerank, parse_score, render_rerank, render_score
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.http.bounds import Bounds
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class RerankRoutes:
    """Documents in the order in which they answer a query, and scores of pairs."""

    path: Path
    bounds: Bounds

    async def rerank(self, request: Request, client: Client) -> None:
        """POST /v1/rerank, /rerank: with the documents, unless the request says otherwise"""
        await self._rerank(request, client, with_documents=True)

    async def rerank_v2(self, request: Request, client: Client) -> None:
        """POST /v2/rerank: with the documents only if the request asks for them"""
        await self._rerank(request, client, with_documents=False)

    async def _rerank(self, request: Request, client: Client, *, with_documents: bool) -> None:
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(
            request, parse_rerank, body, self.bounds.inputs, with_documents=with_documents
        )
        with client.watched():
            async with self.path.open(request, call.model, "rerank") as run:
                scores = await run.rerank(call.pairs)
                answer = render_rerank(call, scores, request.id, run.model.name)
                await client.respond(answer)

    async def score(self, request: Request, client: Client) -> None:
        """POST /v1/score and /score"""
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(request, parse_score, body, self.bounds.inputs)
        with client.watched():
            async with self.path.open(request, call.model, "rerank") as run:
                scores = await run.rerank(call.pairs)
                await client.respond(render_score(scores, request.id, run.model.name))
