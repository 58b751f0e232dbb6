"""`GET /`: the public status page for browsers, and Ollama's greeting for everything else. `GET
/status`: what the page shows, as JSON.

Neither shows data of callers, and names of models only if they are not secret.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from frontend.dashboard.pages import render, respond
from frontend.domain.models import Model
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.generation.uptime import Day, Uptime
from frontend.http.accept import wants_page
from frontend.http.client import Client
from frontend.http.origin import origin_of

_CALLS = (
    ("curl", "curl.txt"),
    ("OpenAI SDK (Python)", "openai.txt"),
    ("Anthropic SDK (Python)", "anthropic.txt"),
    ("Ollama (Python)", "ollama.txt"),
    ("Continue (config.yaml)", "continue.txt"),
    ("Aider", "aider.txt"),
    ("Open WebUI", "open-webui.txt"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A model as the page shows it. `running` is None where it is not loaded."""

    name: str
    state: str
    kind: str = ""
    context: int | None = None
    capabilities: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    running: int | None = None
    first_token_s: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class StatusRoutes:
    """`names`: the names of models are not secret. `public_url` is where the calls go; empty: as
    the client reached the gateway."""

    path: Path
    names: bool
    public_url: str
    uptime: Uptime

    async def show(self, _: Request, client: Client) -> None:
        """GET /"""
        if not wants_page(client.scope["headers"]):
            headers = [(b"vary", b"accept")]
            kind = b"text/plain; charset=utf-8"
            await client.respond(b"Ollama is running", headers=headers, kind=kind)
            return
        url = origin_of(client, self.public_url)
        shown = await self._state()
        calls = list(self._calls(url))
        await respond(client, "status.html", vary=b"accept, cookie", url=url, calls=calls, **shown)

    async def data(self, _: Request, client: Client) -> None:
        """GET /status"""
        shown = {"object": "status", **await self._state()}
        await client.respond(orjson.dumps(shown), headers=[(b"cache-control", b"no-store")])

    async def _state(self) -> dict[str, Any]:
        days, queue = await self.uptime.days(), self.path.queue
        return {
            "ready": self.path.fleet.is_ready and not self.path.draining,
            "draining": self.path.draining,
            "running": queue.running,
            "waiting": queue.waiting,
            "expected_wait_s": math.ceil(queue.expected_wait_s),
            "models": list(self._lines()) if self.names else None,
            "uptime": _mean(days),
            "days": days,
        }

    def _lines(self) -> Iterator[Line]:
        fleet, activity = self.path.fleet, self.path.activity
        ready = {one.name for one in fleet.loaded}
        for model in fleet.models:
            state = "ready" if model.name in ready else "loaded on demand"
            now = activity.get(model.name, {})
            running = now.get("running")
            yield Line(
                model.name,
                state,
                model.kind,
                model.context_length,
                tuple(sorted(model.capabilities)),
                model.aliases,
                None if running is None else int(running),
                now.get("first_token_s"),
                now.get("tokens_per_s"),
            )
        known = {model.name for model in fleet.models}
        for name in sorted(set(fleet.absent) - known):
            yield Line(name, "not loaded")

    def _calls(self, url: str) -> Iterator[tuple[str, str]]:
        """(title, text to copy) for each client."""
        able = _first(self.path.fleet.models) if self.names else None
        values = {
            "url": url,
            "model": able or "MODEL",
            "key": "unused" if self.names else "YOUR_KEY",
            "keyed": not self.names,
        }
        for title, file in _CALLS:
            # text, so not escaped here: the page escapes it
            yield title, render(f"calls/{file}", **values).decode().strip()


def _mean(days: list[Day]) -> float | None:
    shares = [day.share for day in days if day.share is not None]
    return sum(shares) / len(shares) if shares else None


def _first(models: list[Model]) -> str | None:
    return next((one.name for one in models if "chat" in one.capabilities), None)
