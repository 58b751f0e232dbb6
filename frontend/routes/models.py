"""The list of models, in OpenAI's shape or in Anthropic's: both ask at the same path."""

from dataclasses import dataclass

from frontend.accounts.scopes import require_model, visible
from frontend.dialects.anthropic import models as anthropic
from frontend.dialects.openai.models import render_model, render_models
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.upstreams.fleet import Fleet


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """Which models are served."""

    fleet: Fleet

    async def list(self, request: Request, client: Client) -> None:
        """GET /v1/models"""
        # an empty list would tell clients that the models are gone
        await self.fleet.check()
        render = anthropic.render_models if _is_anthropics(client) else render_models
        await client.respond(render(visible(request.caller.scope, self.fleet.listed)))

    async def one(self, request: Request, client: Client) -> None:
        """GET /v1/models/{model}"""
        name = client.scope["path_params"]["model"]
        model = require_model(request.caller.scope, name, await self.fleet.find(name))
        render = anthropic.render_model if _is_anthropics(client) else render_model
        await client.respond(render(model))


def _is_anthropics(client: Client) -> bool:
    return any(name == anthropic.HEADER for name, _ in client.scope["headers"])
