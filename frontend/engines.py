"""Makes the upstreams that the operator describes: the one place that knows every kind of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from frontend.address import Address, BadAddress, parse_server
from frontend.domain.upstreams import ServedModel, UpstreamEntry
from frontend.upstreams.anthropic import Anthropic
from frontend.upstreams.member import Member, Placing
from frontend.upstreams.ollama import Ollama
from frontend.upstreams.openai.client import OpenAi
from frontend.upstreams.protocol import Upstream
from frontend.upstreams.registry import Registry
from frontend.upstreams.remote import Declared, Remote
from frontend.upstreams.triton.client import Triton
from frontend.upstreams.web import Web

_MAX_KEY = 8192
_VERSION = "2023-06-01"
_KINDS: dict[str, type[Remote]] = {"ollama": Ollama, "anthropic": Anthropic}


class BadUpstream(ValueError):
    """Says which field of an upstream is wrong, its value and why."""


@dataclass(frozen=True, slots=True)
class Engines:
    """`allows`: the addresses that may be connected to. `mapping`: the operator's own names of
    models. `triton`: the key for Triton's control calls, and its repository if it can be read."""

    poll_interval_s: float
    mapping: Mapping[str, str] = field(default_factory=dict)
    keep_s: float = float("inf")
    triton: tuple[tuple[str, str] | None, Path | None] = (None, None)
    allows: Callable[[Address], bool] = lambda _: True

    def make(self, entry: UpstreamEntry) -> Member:
        """One upstream. Raises BadUpstream."""
        return self.member(entry, self._upstream(entry))

    def member(self, entry: UpstreamEntry, upstream: Upstream) -> Member:
        """An upstream under its entry's name and rules."""
        placing = Placing(
            entry.engine,
            entry.max_concurrent,
            entry.priority,
            entry.external,
            frozenset(entry.groups),
        )
        registry = Registry(upstream, self.poll_interval_s, self.mapping, self.keep_s)
        return Member(entry.name, upstream, registry, placing, enabled=entry.enabled)

    def _upstream(self, entry: UpstreamEntry) -> Upstream:
        if entry.engine == "triton":
            key, repository = self.triton
            return Triton(entry.url.removeprefix("grpc://"), key, repository)
        web = self._web(entry)
        declared = {one.own or one.name: _declared(one) for one in entry.models}
        return _KINDS.get(entry.engine, OpenAi)(web, entry.engine, declared)

    def _web(self, entry: UpstreamEntry) -> Web:
        try:
            server = parse_server(entry.url)
        except BadAddress as error:
            raise BadUpstream(f"'url' of {entry.name} is {entry.url[:100]!r}: it {error}") from None
        # a base path that ends with /v1 is what the SDKs of OpenAI are given
        if server.path.endswith("/v1"):
            server = parse_server(entry.url.rstrip("/").removesuffix("/v1"))
        return Web(server, _headers(entry), self.allows)


def _headers(entry: UpstreamEntry) -> dict[str, str]:
    version = {"anthropic-version": _VERSION} if entry.engine == "anthropic" else {}
    if entry.api_key_file is None:
        return version
    try:
        key = Path(entry.api_key_file).read_text()[:_MAX_KEY].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text"
        raise BadUpstream(
            f"'api_key_file' of {entry.name} is {entry.api_key_file!r}: {reason}"
        ) from None
    if not key or not key.isascii() or not key.isprintable():
        raise BadUpstream(f"'api_key_file' of {entry.name} does not hold one line with a key")
    if entry.engine == "anthropic":
        return {**version, "x-api-key": key}
    return {"authorization": f"Bearer {key}"}


def _declared(model: ServedModel) -> Declared:
    able = None if model.capabilities is None else frozenset(model.capabilities)
    return Declared(
        model.name,
        model.own or model.name,
        model.kind,
        able,
        model.context_length,
        model.dimensions,
        model.images,
        model.aliases,
    )
