"""The OpenAPI document and a page to try it out, which loads nothing from anywhere else."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson
import swagger_ui_bundle  # type: ignore[import-untyped]

from frontend.domain.request import Request
from frontend.errors import NotFound
from frontend.http.client import Client
from frontend.openapi.build import build_document
from frontend.upstreams.fleet import Fleet

_FILES = {
    "swagger-ui.css": b"text/css; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "favicon-32x32.png": b"image/png",
}
# a file of its own, because the policy below refuses inline scripts
_START = b'SwaggerUIBundle({url: "/docs/api", dom_id: "#page", deepLinking: true});\n'
_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Triton Toolkit gateway</title>
<link rel="icon" href="/docs/swagger/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger/swagger-ui.css"></head>
<body><div id="page"></div>
<script src="/docs/swagger/swagger-ui-bundle.js"></script>
<script src="/docs/swagger/start.js"></script></body>
</html>
"""
_HEADERS = [
    (
        # Swagger UI sets styles on its elements, so 'unsafe-inline' is allowed for styles
        b"content-security-policy",
        b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        b" frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
]


@dataclass(frozen=True, slots=True)
class DocsRoutes:
    """`names`: the document contains the names of models, if these are not secret."""

    fleet: Fleet
    names: bool

    async def document(self, _: Request, client: Client) -> None:
        """GET /docs/api"""
        models = self.fleet.models if self.names else []
        await client.respond(orjson.dumps(build_document(models)))

    async def page(self, _: Request, client: Client) -> None:
        """GET /docs/swagger"""
        await client.respond(_PAGE, headers=_HEADERS, kind=b"text/html; charset=utf-8")

    async def file(self, _: Request, client: Client) -> None:
        """GET /docs/swagger/{name}"""
        name = client.scope["path_params"]["name"]
        if name == "start.js":
            content, kind = _START, _FILES["swagger-ui-bundle.js"]
        elif name in _FILES:
            content, kind = _read(name), _FILES[name]
        else:
            raise NotFound("this file does not exist")
        await client.respond(content, headers=_HEADERS, kind=kind)


@cache
def _read(name: str) -> bytes:
    return Path(swagger_ui_bundle.swagger_ui_path, name).read_bytes()
