"""The list of models, in OpenAI's shape or in Anthropic's: both ask at the same path."""

from dataclasses import dataclass

from frontend.dialects.anthropic import models as anthropic
from frontend.dialects.openai.models import render_model, render_models
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.upstreams.registry import Registry


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """Which models are served."""

    registry: Registry

    async def list(self, _: Request, client: Client) -> None:
        """GET /v1/models"""
        await self.registry.check()
        render = anthropic.render_models if _is_anthropics(client) else render_models
        await client.respond(render(self.registry.models))

    async def one(self, _: Request, client: Client) -> None:
        """GET /v1/models/{model}"""
        model = await self.registry.find(client.scope["path_params"]["model"])
        render = anthropic.render_model if _is_anthropics(client) else render_model
        await client.respond(render(model))


def _is_anthropics(client: Client) -> bool:
    return any(name == anthropic.HEADER for name, _ in client.scope["headers"])
