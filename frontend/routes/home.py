"""`GET /`: a page for browsers, which loads nothing from anywhere else, and Ollama's greeting for
everything else.

Names of models are on the page only where they are not secret.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from frontend.domain.models import Model
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.http.origin import origin_of
from frontend.upstreams.fleet import Fleet

_PAGES = Path(__file__).with_name("pages")
_HIDDEN = (
    "<p>The names of models are for callers with a key:</p>"
    "<pre>curl {url}/v1/models -H 'Authorization: Bearer YOUR_KEY'</pre>"
)
_EMPTY = "<p>No model is loaded. <code>GET /readyz</code> reports when one is.</p>"
_COLUMNS = ("Name", "Kind", "State", "Context", "Can do", "Also called")


@dataclass(frozen=True, slots=True)
class HomeRoutes:
    """`names`: the names of models are not secret. `public_url` is where the calls go; empty: as
    the client reached the gateway. `key`: what an example sends as its key."""

    fleet: Fleet
    names: bool
    public_url: str

    async def show(self, _: Request, client: Client) -> None:
        """GET /"""
        vary = (b"vary", b"accept")
        if not wants_page(client):
            greeting, kind = b"Ollama is running", b"text/plain; charset=utf-8"
            await client.respond(greeting, headers=[vary], kind=kind)
            return
        models = self.fleet.models if self.names else None
        states = dict.fromkeys(self.fleet.absent, "not loaded") if self.names else {}
        for model in models or []:
            states[model.name] = "loaded on demand"
        states |= dict.fromkeys((one.name for one in self.fleet.loaded), "ready")
        state = "Ready." if self.fleet.is_ready else "Not ready: no model is loaded."
        page = render(origin_of(client, self.public_url), state, models, states)
        headers = [vary, *_headers()]
        await client.respond(page, headers=headers, kind=b"text/html; charset=utf-8")


def wants_page(client: Client) -> bool:
    """Whether the client asks for HTML by name, as only browsers do."""
    accepted = b",".join(value for name, value in client.scope["headers"] if name == b"accept")
    for part in accepted.split(b","):
        kind, *options = [one.strip().lower() for one in part.split(b";")]
        if kind in (b"text/html", b"application/xhtml+xml"):
            return not any(one.replace(b" ", b"").rstrip(b"0.") == b"q=" for one in options)
    return False


def render(url: str, state: str, models: list[Model] | None, states: Mapping[str, str]) -> bytes:
    """The page; `models` of None: their names are secret. `states` of all models by name."""
    calls = "".join(
        f'<div class="call"><div><h3>{escape(title)}</h3>'
        f'<button type="button" hidden>Copy</button></div><pre>{escape(text)}</pre></div>'
        for title, text in calls_of(url, models or [], keyed=models is None)
    )
    shown = _table(models, states) if models is not None else _HIDDEN.format(url=escape(url))
    return Template(_read("home.html")).substitute(
        style=_read("home.css"), script=_read("home.js"), state=state, models=shown, calls=calls
    ).encode()  # fmt: skip


def calls_of(url: str, models: list[Model], *, keyed: bool) -> list[tuple[str, str]]:
    """(title, text to be copied) of one call for each client."""
    able = [model.name for model in models if "chat" in model.capabilities]
    name, key = able[0] if able else "MODEL", "YOUR_KEY" if keyed else "unused"
    header = " \\\n  -H 'Authorization: Bearer YOUR_KEY'" if keyed else ""
    texts = {
        "curl": "home.curl.txt", "OpenAI SDK": "home.openai.txt", "Ollama": "home.ollama.txt",
        "Anthropic SDK": "home.anthropic.txt",
    }  # fmt: skip
    values = {"url": url, "model": name, "key": key, "header": header}
    return [(title, Template(_read(file)).substitute(values)) for title, file in texts.items()]


def _table(models: list[Model], states: Mapping[str, str]) -> str:
    rows = "".join(f"<tr>{_row(model, states[model.name])}</tr>" for model in models)
    for name in sorted(states.keys() - {model.name for model in models}):
        rows += f"<tr><td><code>{escape(name)}</code></td><td></td><td>{states[name]}</td></tr>"
    if not rows:
        return _EMPTY
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _row(model: Model, state: str) -> str:
    context = "" if model.context_length is None else f"{model.context_length:,} tokens"
    cells = (
        f"<code>{escape(model.name)}</code>", escape(model.kind), state, context,
        escape(", ".join(sorted(model.capabilities))), escape(", ".join(model.aliases)),
    )  # fmt: skip
    return "".join(f"<td>{cell}</td>" for cell in cells)


@cache
def _read(name: str) -> str:
    return (_PAGES / name).read_text().rstrip()


@cache
def _headers() -> tuple[tuple[bytes, bytes], ...]:
    """Only this page's own style and script run, and it sends nothing anywhere."""
    policy = (
        f"default-src 'none'; style-src '{_digest('home.css')}'; script-src"
        f" '{_digest('home.js')}'; img-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
    return (
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    )


def _digest(name: str) -> str:
    """As a policy names an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(_read(name).encode()).digest()).decode()}"
