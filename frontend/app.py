"""The one place where the gateway is wired, and its route table.

Nothing here runs at import time, and there is no global state: two apps in one process are two
gateways.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.backends.catalogue import Catalogue
from frontend.backends.triton import Triton
from frontend.generation.admission import Admission
from frontend.generation.run import Runner
from frontend.media.fetch import Fetcher
from frontend.media.images import Images
from frontend.media.shelf import Shelf
from frontend.routes.frame import Frame
from frontend.routes.health import HealthRoutes
from frontend.routes.messages import MessagesRoutes
from frontend.routes.ollama import OllamaRoutes
from frontend.routes.openai import Bounds, OpenAIRoutes
from frontend.routes.pictures import FILES, PictureRoutes
from frontend.routes.ranking import RankingRoutes
from frontend.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The gateway as an ASGI application; create it inside the event loop that serves it."""
    triton = Triton(settings.triton)
    catalogue = Catalogue(triton, settings.poll_interval_s, settings.models)
    admission = Admission(settings.max_running, settings.max_waiting)
    runner = Runner(triton, catalogue, admission, settings.request_timeout_s)

    images = _images(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with catalogue.polling():
            yield
        images.close()
        await triton.close()

    bounds = Bounds(
        body_bytes=settings.max_body_bytes,
        messages=settings.max_messages,
        inputs=settings.max_inputs,
        client_timeout_s=settings.client_timeout_s,
        heartbeat_s=settings.heartbeat_s,
    )
    app = _App(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.state.runner = runner
    app.router.routes[:] = [
        *routes(OpenAIRoutes(runner, bounds, images), HealthRoutes(runner)),
        *picture_routes(_pictures(settings, runner, bounds)),
        *messages_routes(MessagesRoutes(runner, bounds, images)),
        *ranking_routes(RankingRoutes(runner, bounds)),
        *ollama_routes(OllamaRoutes(runner, bounds)),
    ]
    return app


def _pictures(settings: Settings, runner: Runner, bounds: Bounds) -> PictureRoutes:
    shelf = Shelf(settings.max_stored_bytes, settings.link_ttl_s)
    return PictureRoutes(runner, bounds, shelf, settings.public_url)


def _images(settings: Settings) -> Images:
    networks = tuple(map(ip_network, settings.networks))
    fetcher = Fetcher(settings.max_image_bytes, settings.image_timeout_s, networks)
    return Images(fetcher, settings.max_images, settings.max_image_bytes, settings.max_image_pixels)


class _App(FastAPI):
    """FastAPI whose only middleware is Frame: it does what theirs do, once per message."""

    def build_middleware_stack(self) -> ASGIApp:
        """Called once, at the first request."""
        return Frame(self.router)


def routes(openai: OpenAIRoutes, health: HealthRoutes) -> list[Route]:
    """Every route there is."""
    return [
        _route("POST", "/v1/chat/completions", openai.chat),
        _route("POST", "/v1/completions", openai.completion),
        _route("POST", "/v1/embeddings", openai.embedding),
        _route("GET", "/v1/models", openai.models),
        _route("GET", "/v1/models/{model:path}", openai.model),
        _route("GET", "/healthz", health.live),
        _route("GET", "/readyz", health.ready),
    ]


def ranking_routes(ranking: RankingRoutes) -> list[Route]:
    """Where the clients of Jina, Cohere and vLLM look for them."""
    reranks = [_route("POST", f"{base}/rerank", ranking.rerank) for base in ("", "/v1", "/v2")]
    return [*reranks, *(_route("POST", f"{base}/score", ranking.score) for base in ("", "/v1"))]


def picture_routes(pictures: PictureRoutes) -> list[Route]:
    """Images, and the links to them."""
    return [
        _route("POST", "/v1/images/generations", pictures.generate),
        _route("GET", f"{FILES}{{name}}", pictures.file),
        _route("POST", "/v1/images/edits", pictures.refused),
        _route("POST", "/v1/images/variations", pictures.refused),
    ]


def messages_routes(messages: MessagesRoutes) -> list[Route]:
    """Anthropic's API."""
    return [
        _route("POST", "/v1/messages", messages.create),
        _route("POST", "/v1/messages/count_tokens", messages.count),
    ]


def ollama_routes(ollama: OllamaRoutes) -> list[Route]:
    """Ollama's API."""
    refused = [
        _route(method, path, ollama.refused)
        for method, path in (
            ("POST", "/api/create"),
            ("POST", "/api/copy"),
            ("POST", "/api/push"),
            ("POST", "/api/pull"),
            ("DELETE", "/api/delete"),
            ("POST", "/api/blobs/{digest}"),
        )
    ]
    return [
        _route("GET", "/", ollama.hello),
        _route("GET", "/api/version", ollama.version),
        _route("GET", "/api/tags", ollama.tags),
        _route("GET", "/api/ps", ollama.running),
        _route("POST", "/api/show", ollama.show),
        _route("POST", "/api/chat", ollama.chat),
        _route("POST", "/api/generate", ollama.generate),
        _route("POST", "/api/embed", ollama.embed),
        _route("POST", "/api/embeddings", ollama.embeddings),
        *refused,
    ]


def _route(method: str, path: str, endpoint: ASGIApp) -> Route:
    return Route(path, _Endpoint(endpoint), methods=[method])


class _Endpoint:
    """An ASGI application that starlette does not wrap in request and response objects."""

    def __init__(self, call: ASGIApp) -> None:
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._call(scope, receive, send)
