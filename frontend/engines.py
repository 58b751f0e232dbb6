"""Makes the upstreams that the operator describes: the one place that knows every kind of them."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from frontend.address import Address, BadAddress, parse_grpc, parse_server
from frontend.domain.room import UNLIMITED_ROOM, RoomLimits
from frontend.domain.upstreams import Backend, ServedModel, UpstreamEntry
from frontend.reach import Reach
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
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,80}_API_KEY", re.ASCII)
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
    room: RoomLimits = UNLIMITED_ROOM
    allows: Callable[[Address], bool] = lambda _: True

    async def make_registered(self, backend: Backend, reach: Reach, keys: Path | None) -> Member:
        """A registered upstream, connected to addresses that were checked. `keys`: the folder of
        the files that it may name. Raises BadUpstream."""
        entry = entry_of(backend)
        if entry.engine == "triton":
            try:
                server = parse_grpc(entry.url)
                addresses = await reach.addresses(server)
            except BadAddress as error:
                raise BadUpstream(f"'url' of {entry.name}: it {error}") from None
            target = _target(addresses, server.port)
            # without the key for control calls, which belongs to the operator's own Triton
            return self.member(entry, Triton(target, authority=server.authority))
        guarded = replace(self, allows=reach.allows)
        web = guarded._web(entry)
        web.headers = _headers_of(entry, _key_of(backend, keys))
        return self.member(entry, guarded._over(web, entry))

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
        registry = Registry(upstream, self.poll_interval_s, self.mapping, self.keep_s, self.room)
        return Member(entry.name, upstream, registry, placing, enabled=entry.enabled)

    def _upstream(self, entry: UpstreamEntry) -> Upstream:
        if entry.engine == "triton":
            key, repository = self.triton
            return Triton(entry.url.removeprefix("grpc://"), key, repository)
        return self._over(self._web(entry), entry)

    def _over(self, web: Web, entry: UpstreamEntry) -> Upstream:
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


def entry_of(backend: Backend) -> UpstreamEntry:
    """A registered upstream as the settings would describe it."""
    return UpstreamEntry(
        backend.name,
        backend.url,
        backend.engine,
        backend.max_concurrent,
        backend.max_num_seqs,
        backend.priority,
        None,
        backend.external,
        tuple(backend.groups),
        tuple(ServedModel(**one) for one in backend.models),
        backend.enabled,
    )


def _target(addresses: list[Address], port: int) -> str:
    """Addresses as gRPC takes them: of one family, so that nothing is looked up again."""
    family = [one for one in addresses if one.version == addresses[0].version]
    shown = (f"[{one}]" if one.version == 6 else str(one) for one in family)
    return f"ipv{addresses[0].version}:" + ",".join(f"{one}:{port}" for one in shown)


def is_named(backend: Backend) -> bool:
    """Whether a Triton is named by a host name, whose addresses may change."""
    if backend.engine != "triton":
        return False
    try:
        ipaddress.ip_address(parse_grpc(backend.url).host)
    except BadAddress:
        return False
    except ValueError:
        return True
    return False


def _key_of(backend: Backend, keys: Path | None) -> str | None:
    """The key of a registered upstream. Raises BadUpstream, which never shows it."""
    if (variable := backend.api_key_env) is not None:
        key = os.environ.get(variable, "").strip() if _VARIABLE.fullmatch(variable) else ""
        return _checked(key, f"'api_key_env' of {backend.name}: {variable}")
    if (name := backend.api_key_file) is None:
        return None
    if keys is None:
        raise BadUpstream(f"'api_key_file' of {backend.name}: the setting 'backend_keys' is empty")
    return _read_key(keys / Path(name).name, backend.name)


def _headers(entry: UpstreamEntry) -> dict[str, str]:
    file = entry.api_key_file
    return _headers_of(entry, None if file is None else _read_key(Path(file), entry.name))


def _read_key(file: Path, name: str) -> str:
    try:
        key = file.read_text()[:_MAX_KEY].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text"
        raise BadUpstream(f"'api_key_file' of {name} is '{file}': {reason}") from None
    return _checked(key, f"'api_key_file' of {name}")


def _checked(key: str, place: str) -> str:
    if not key or not key.isascii() or not key.isprintable():
        raise BadUpstream(f"{place} does not hold one line with a key")
    return key


def _headers_of(entry: UpstreamEntry, key: str | None) -> dict[str, str]:
    version = {"anthropic-version": _VERSION} if entry.engine == "anthropic" else {}
    if key is None:
        return version
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
