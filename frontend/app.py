"""The one place where the gateway is wired, and its route table.

Nothing here runs at import time, and there is no global state: two apps in one process are two
gateways.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.accounts.authorize import Authorizer
from frontend.accounts.keys import Keys
from frontend.budget import Budget
from frontend.domain.identity import ANONYMOUS, Permission
from frontend.generation.admission import Admission
from frontend.generation.presence import Presence
from frontend.generation.run import Runner
from frontend.generation.structure import Structures
from frontend.http.client import BodyBounds
from frontend.http.middleware import Frame
from frontend.http.sites import sites_of
from frontend.http.trace import current
from frontend.media.fetch import Fetcher
from frontend.media.images import ImageBounds, Images
from frontend.media.links import Links
from frontend.media.transcode import PictureLimits
from frontend.routes.docs import DocsRoutes
from frontend.routes.health import HealthRoutes
from frontend.routes.manager import ManagerRoutes
from frontend.routes.messages import MessagesRoutes
from frontend.routes.metrics import MetricsRoutes, is_local
from frontend.routes.ollama import OllamaRoutes
from frontend.routes.openai import Bounds, OpenAIRoutes
from frontend.routes.pictures import FILES, PictureRoutes
from frontend.routes.ranking import RankingRoutes
from frontend.routes.responses import ResponsesRoutes
from frontend.schemas.limits import Limits
from frontend.settings import Settings
from frontend.store.responses import ResponseStore
from frontend.telemetry.metrics import Metrics
from frontend.upstreams.registry import Catalogue
from frontend.upstreams.triton.client import Triton
from frontend.workers import Workers

_DECODER_BYTES = 512 * 2**20
"""Address space of a process that decodes images: Python, libraries and files."""
_DECODED_BYTES = 16
"""And for each pixel: an image is copied a few times on its way to RGB."""
_MAX_DECODING = 2048
"""Images that are decoded or wait for it."""


def create_app(settings: Settings) -> Starlette:
    """The gateway as an ASGI application; create it inside the event loop that serves it."""
    triton = Triton(settings.triton, settings.triton_key)
    catalogue = Catalogue(triton, settings.poll_interval_s, settings.models)
    admission = Admission(settings.max_running, settings.max_waiting)
    structures = _structures(settings)
    runner = Runner(
        triton,
        catalogue,
        admission,
        settings.request_timeout_s,
        structures,
        settings.max_text_bytes,
        settings.allowed_constraints,
    )

    presence = Presence(triton, catalogue)
    images = _images(settings)
    store = ResponseStore(
        settings.responses_database, settings.responses_ttl_s, settings.max_responses_bytes
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with catalogue.polling(), structures.working():
            yield
        await images.workers.close()
        await store.close()
        await triton.close()

    bodies = Budget(settings.max_bodies_bytes)
    counts = settings.max_json_values, settings.max_json_containers
    bounds = Bounds(
        body=BodyBounds(settings.max_body_bytes, *counts, bodies),
        image_body=BodyBounds(settings.max_image_body_bytes, *counts, bodies),
        messages=settings.max_messages,
        inputs=settings.max_inputs,
        client_timeout_s=settings.client_timeout_s,
        heartbeat_s=settings.heartbeat_s,
        unknown_fields=settings.unknown_fields,
    )
    app = _App(lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.runner = runner
    app.state.authorizer = _authorizer(settings)
    app.state.metrics = Metrics()
    app.state.sites = sites_of(
        settings.host,
        settings.hosts,
        settings.origins,
        settings.public_url,
        keyed=settings.keys_file is not None and not settings.open,
    )
    app.state.has_cors = bool(settings.origins)
    app.router.routes[:] = [
        *routes(OpenAIRoutes(runner, bounds, images), HealthRoutes(runner)),
        *metrics_routes(MetricsRoutes(app.state.metrics)),
        *picture_routes(_pictures(settings, runner, bounds)),
        *responses_routes(ResponsesRoutes(runner, bounds, images, store)),
        *docs_routes(DocsRoutes(runner, settings.keys_file is None or settings.open)),
        *messages_routes(MessagesRoutes(runner, bounds, images)),
        *ranking_routes(RankingRoutes(runner, bounds)),
        *ollama_routes(
            OllamaRoutes(runner, bounds, presence, images), ManagerRoutes(presence, bounds)
        ),
    ]
    return app


def _pictures(settings: Settings, runner: Runner, bounds: Bounds) -> PictureRoutes:
    links = Links(settings.max_stored_bytes, settings.link_ttl_s)
    return PictureRoutes(runner, bounds, links, settings.public_url)


def _structures(settings: Settings) -> Structures:
    workers = Workers(
        settings.schema_workers,
        settings.schema_timeout_s,
        settings.max_schema_memory_bytes,
        max_waiting=4 * settings.max_running,  # answers that end at once, of one caller or many
    )
    limits = Limits(
        size_bytes=settings.max_schema_bytes,
        total_bytes=settings.max_schemas_bytes,
        depth=settings.max_schema_depth,
        properties=settings.max_schema_properties,
        enum=settings.max_schema_enum,
        expansion=settings.max_schema_expansion,
        patterns=settings.max_schema_patterns,
        pattern_size=settings.max_schema_pattern_size,
    )
    return Structures(workers, limits, settings.schema_retries)


def _images(settings: Settings) -> Images:
    networks = tuple(map(ip_network, settings.networks))
    fetcher = Fetcher(settings.max_image_bytes, settings.image_timeout_s, networks)
    pixels = settings.max_image_pixels
    workers = Workers(
        settings.image_processes,
        settings.image_decode_s,
        _DECODER_BYTES + _DECODED_BYTES * pixels,
        _MAX_DECODING,
    )
    bounds = ImageBounds(
        settings.max_images,
        settings.max_image_bytes,
        settings.max_encoded_images_bytes,
        PictureLimits(pixels, settings.max_image_scans, settings.max_encoded_image_bytes),
    )
    return Images(fetcher, workers, Budget(4 * settings.max_encoded_images_bytes), bounds)


def _authorizer(settings: Settings) -> Authorizer:
    if settings.keys_file is None:
        return Authorizer(None, settings.open)
    keys = Keys(settings.keys_file)
    keys.read()
    return Authorizer(keys, settings.open)


class _App(Starlette):
    """Starlette whose middleware is Frame: it does what theirs do, once per message."""

    def build_middleware_stack(self) -> ASGIApp:
        """Called once, at the first request."""
        frame, sites = Frame(self.router, self.state.sites), self.state.sites
        if not self.state.has_cors:
            return frame
        return CORSMiddleware(
            frame,
            allow_origins=("*",) if sites.origins is None else (),
            allow_origin_regex=None if sites.origins is None else sites.origins.pattern,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=("x-request-id", "request-id", "retry-after", "openai-processing-ms"),
            allow_private_network=True,
        )


def routes(openai: OpenAIRoutes, health: HealthRoutes) -> list[Route]:
    """Every route there is."""
    return [
        _route("POST", "/v1/chat/completions", openai.chat),
        _route("POST", "/v1/completions", openai.completion),
        _route("POST", "/v1/embeddings", openai.embedding),
        _route("GET", "/v1/models", openai.models),
        _route("GET", "/v1/models/{model:path}", openai.model),
        _route("GET", "/healthz", health.live, Permission.PUBLIC),
        _route("GET", "/readyz", health.ready, Permission.PUBLIC),
        _route("GET", "/health", health.ready, Permission.PUBLIC),
    ]


def metrics_routes(metrics: MetricsRoutes) -> list[Route]:
    """For Prometheus, on this machine or with an admin's key."""
    return [
        Route("/metrics", _Endpoint(metrics.show, Permission.OBSERVE, local=True), methods=["GET"])
    ]


def ranking_routes(ranking: RankingRoutes) -> list[Route]:
    """Where the clients of Jina, Cohere and vLLM look for them."""
    reranks = [_route("POST", f"{base}/rerank", ranking.rerank) for base in ("", "/v1", "/v2")]
    return [*reranks, *(_route("POST", f"{base}/score", ranking.score) for base in ("", "/v1"))]


def picture_routes(pictures: PictureRoutes) -> list[Route]:
    """Images, and the links to them."""
    return [
        _route("POST", "/v1/images/generations", pictures.generate),
        _route("GET", f"{FILES}{{name}}", pictures.file, Permission.PUBLIC),
        _route("POST", "/v1/images/edits", pictures.refused),
        _route("POST", "/v1/images/variations", pictures.refused),
    ]


def responses_routes(responses: ResponsesRoutes) -> list[Route]:
    """OpenAI's Responses API."""
    one = "/v1/responses/{id}"
    return [
        _route("POST", "/v1/responses", responses.create),
        _route("POST", "/v1/responses/input_tokens", responses.count),
        _route("GET", one, responses.retrieve),
        _route("DELETE", one, responses.delete),
        _route("GET", f"{one}/input_items", responses.input_items),
        _route("POST", f"{one}/cancel", responses.cancel),
    ]


def docs_routes(docs: DocsRoutes) -> list[Route]:
    """The OpenAPI document; a test compares it with these tables."""
    return [
        _route("GET", "/docs/api", docs.document, Permission.PUBLIC),
        _route("GET", "/docs/swagger", docs.page, Permission.PUBLIC),
        _route("GET", "/docs/swagger/{name}", docs.file, Permission.PUBLIC),
    ]


def messages_routes(messages: MessagesRoutes) -> list[Route]:
    """Anthropic's API."""
    return [
        _route("POST", "/v1/messages", messages.create),
        _route("POST", "/v1/messages/count_tokens", messages.count),
    ]


def ollama_routes(ollama: OllamaRoutes, manager: ManagerRoutes) -> list[Route]:
    """Ollama's API."""
    files = ("create", "copy", "push", "blobs/{digest}")
    refused = [_route("POST", f"/api/{name}", manager.refused, Permission.LOAD) for name in files]
    return [
        _route("GET", "/", ollama.hello, Permission.PUBLIC),
        _route("GET", "/api/version", ollama.version),
        _route("GET", "/api/tags", ollama.tags),
        _route("GET", "/api/ps", ollama.running),
        _route("POST", "/api/show", ollama.show),
        _route("POST", "/api/chat", ollama.chat),
        _route("POST", "/api/generate", ollama.generate),
        _route("POST", "/api/embed", ollama.embed),
        _route("POST", "/api/embeddings", ollama.embeddings),
        _route("POST", "/api/pull", manager.pull, Permission.LOAD),
        _route("DELETE", "/api/delete", manager.delete, Permission.LOAD),
        _route("HEAD", "/api/blobs/{digest}", manager.refused, Permission.LOAD),
        *refused,
    ]


def _route(
    method: str, path: str, endpoint: ASGIApp, needed: Permission = Permission.INFER
) -> Route:
    return Route(path, _Endpoint(endpoint, needed), methods=[method])


class _Endpoint:
    """A guarded ASGI application that starlette does not wrap in request and response objects."""

    def __init__(self, call: ASGIApp, needed: Permission, *, local: bool = False) -> None:
        """`local`: this machine needs no key."""
        self._call = call
        self.needed = needed
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        authorizer: Authorizer = scope["app"].state.authorizer
        if self._local and is_local(scope):
            current().caller = ANONYMOUS
        else:
            current().caller = authorizer.authorize(scope["headers"], self.needed)
        await self._call(scope, receive, send)
