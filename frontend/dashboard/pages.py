"""Renders pages, and serves the files that they load.

A page has no inline script and no inline style, and loads nothing from anywhere else; its policy
says so to the browser. Values are escaped by Jinja2. The digest of all static files is a part of
their addresses, so that a browser keeps them and still loads those of a new release.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from frontend.domain.request import Request
from frontend.errors import NotFound
from frontend.http.client import Client

_FOLDER = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# not the machine's table of them, which differs between systems
_KINDS = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_SAFE = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
PAGE = [*_SAFE, (b"content-security-policy", _POLICY.encode()), (b"cache-control", b"no-store")]
_NOWHERE = (
    "There is no page at this address. Check the address for typing mistakes, or choose one of"
    " these pages."
)
_FILE = [*_SAFE, (b"cache-control", b"public, max-age=31536000, immutable")]


@dataclass(frozen=True, slots=True)
class StaticRoutes:
    """The scripts, styles and icons of all pages."""

    async def file(self, _: Request, client: Client) -> None:
        """GET /static/{digest}/{name}"""
        # of a digest that is not this release's, the newest file is better than none
        found = _files().get(client.scope["path_params"]["name"])
        if found is None:
            raise NotFound("this file does not exist")
        content, kind = found
        await client.respond(content, headers=_FILE, kind=kind)


def render(template: str, **values: Any) -> bytes:
    """The page of a template in `templates/`."""
    return _environment().get_template(template).render(values).encode()


async def respond(
    client: Client, template: str, *, vary: bytes = b"cookie", status: int = 200, **values: Any
) -> None:
    """Sends a page."""
    headers = [(b"vary", vary), *PAGE]
    page = render(template, **values)
    await client.respond(page, status=status, headers=headers, kind=b"text/html; charset=utf-8")


def error_page(status: int, text: str, request_id: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The page of an error, and its headers. An empty text: the address leads nowhere."""
    titles = {403: "No access", 404: "Page not found", 429: "Too many requests"}
    title = titles.get(status, "The gateway cannot show this page")
    said = f"{text[:1].upper()}{text[1:]}." if text else _NOWHERE
    page = render("error.html", title=title, text=said, status=status, id=request_id)
    return page, [(b"vary", b"accept, cookie"), *PAGE]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static": f"/static/{_digest()}", "version": version("triton-toolkit")}
    environment.filters["number"] = "{:,}".format
    return environment


@cache
def _files() -> dict[str, tuple[bytes, bytes]]:
    """(content, media type) by path below `static/`."""
    folder = _FOLDER / "static"
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), _KINDS[path.suffix])
        for path in paths
    }


@cache
def _digest() -> str:
    digest = hashlib.sha256()
    for name, (content, _) in _files().items():
        digest.update(name.encode() + content)
    return digest.hexdigest()[:12]
