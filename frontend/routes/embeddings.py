"""OpenAI's embeddings."""

from dataclasses import dataclass

from frontend.dialects.openai.embeddings import (
    check_dimensions,
    check_ids,
    parse_embedding,
    render_embedding,
)
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.http.bounds import Bounds
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class EmbeddingRoutes:
    """Texts and token ids → vectors."""

    path: Path
    bounds: Bounds

    async def create(self, request: Request, client: Client) -> None:
        """POST /v1/embeddings"""
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(request, parse_embedding, body, self.bounds.inputs)
        with client.watched():
            async with self.path.open(request, call.model, "embedding") as run:
                check_dimensions(call.dimensions, run.model)
                check_ids(call.embedding, run.model)
                vectors = await run.embed(call.embedding)
                vectors = vectors.cut(call.dimensions or vectors.dimensions)
                await client.respond(render_embedding(call, vectors, run.model.name))
