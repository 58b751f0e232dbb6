"""Makes the upstreams that the operator describes: the one place that knows every kind of them."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from frontend.address import Address, BadAddress, parse_grpc, parse_server
from frontend.domain.room import UNLIMITED_ROOM, RoomLimits
from frontend.domain.upstreams import Backend, ServedModel, TensorNames, UpstreamEntry
from frontend.reach import Reach
from frontend.upstreams.anthropic import Anthropic
from frontend.upstreams.declared import Declared
from frontend.upstreams.member import Member, Placing
from frontend.upstreams.ollama import Ollama
from frontend.upstreams.openai.client import OpenAi
from frontend.upstreams.protocol import Upstream
from frontend.upstreams.registry import Registry
from frontend.upstreams.remote import Remote
from frontend.upstreams.triton.client import Triton
from frontend.upstreams.triton.plain.templates import FORMATS
from frontend.upstreams.web import Web

_MAX_KEY = 8192
_MAX_TEMPLATE = 2**20
_VERSION = "2023-06-01"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,80}_API_KEY", re.ASCII)
_KINDS: dict[str, type[Remote]] = {"ollama": Ollama, "anthropic": Anthropic}


class BadUpstream(ValueError):
    """Says which field of an upstream is wrong, its value and why."""


@dataclass(frozen=True, slots=True)
class Engines:
    """`allows`: the addresses that may be connected to. `mapping`: the operator's own names of
    models. `triton`: the key for Triton's control calls, and its repository if it can be read.
    `files`: the folder of the templates and tokenizers that models may name. `turns`: keeps other
    gateways from making room at the upstream of a name meanwhile."""

    poll_interval_s: float
    mapping: Mapping[str, str] = field(default_factory=dict)
    keep_s: float = float("inf")
    triton: tuple[tuple[str, str] | None, Path | None] = (None, None)
    room: RoomLimits = UNLIMITED_ROOM
    allows: Callable[[Address], bool] = lambda _: True
    files: Path | None = None
    turns: Callable[[str], AbstractAsyncContextManager[None]] = lambda _: nullcontext()

    async def make_registered(self, backend: Backend, reach: Reach, keys: Path | None) -> Member:
        """A registered upstream, connected to addresses that were checked. `keys` is the folder of
        the key files that it may name. Raises BadUpstream if a field is not valid or an address is
        not allowed.
        """
        entry = entry_of(backend)
        if entry.engine == "triton":
            try:
                server = parse_grpc(entry.url)
                addresses = await reach.addresses(server)
            except BadAddress as error:
                raise BadUpstream(f"'url' of {entry.name}: it {error}") from None
            target = _target(addresses, server.port)
            # without the key for control calls, which belongs to the operator's own Triton
            made = self._triton(entry, target, authority=server.authority)
            return self.member(entry, made)
        guarded = replace(self, allows=reach.allows)
        web = guarded._web(entry)
        web.headers = _headers_of(entry, _key_of(backend, keys))
        return self.member(entry, guarded._over(web, entry))

    def make(self, entry: UpstreamEntry) -> Member:
        """One upstream of the settings. Raises BadUpstream if a field is not valid."""
        return self.member(entry, self._upstream(entry))

    def member(self, entry: UpstreamEntry, upstream: Upstream) -> Member:
        """An upstream under its entry's name and rules."""
        placing = Placing(
            entry.engine,
            entry.max_concurrent,
            entry.priority,
            entry.external,
            frozenset(entry.groups),
            entry.labels,
        )
        registry = Registry(upstream, self.poll_interval_s, self.mapping, self.keep_s, self.room)
        registry.residency.turns = partial(self.turns, entry.name)
        return Member(entry.name, upstream, registry, placing, enabled=entry.enabled)

    def _upstream(self, entry: UpstreamEntry) -> Upstream:
        if entry.engine == "triton":
            key, repository = self.triton
            address = entry.url.removeprefix("grpc://")
            return self._triton(entry, address, key=key, repository=repository)
        return self._over(self._web(entry), entry)

    def _triton(
        self,
        entry: UpstreamEntry,
        address: str,
        *,
        key: tuple[str, str] | None = None,
        repository: Path | None = None,
        authority: str | None = None,
    ) -> Triton:
        try:
            return Triton(address, key, repository, authority, self._declared(entry))
        except ValueError as error:
            raise BadUpstream(f"'models' of {entry.name}: {error}") from None

    def _declared(self, entry: UpstreamEntry) -> dict[str, Declared]:
        return {one.own or one.name: self._declare(one, entry) for one in entry.models}

    def _declare(self, model: ServedModel, entry: UpstreamEntry) -> Declared:
        able = None if model.capabilities is None else frozenset(model.capabilities)
        # servers of other kinds have templates and tokenizers of their own
        if entry.engine != "triton":
            for name in ("chat_template", "tokenizer", "tensors"):
                if getattr(model, name) is not None:
                    text = f"'{name}' of {model.name} is only for a Triton"
                    raise BadUpstream(f"'models' of {entry.name}: {text}")
        tokenizer = model.tokenizer and str(self._file(entry, model, "tokenizer", model.tokenizer))
        return Declared(
            model.name,
            model.own or model.name,
            model.kind,
            able,
            model.context_length,
            model.dimensions,
            model.images,
            model.aliases,
            self._template(entry, model),
            tokenizer,
            model.tensors,
        )

    def _template(self, entry: UpstreamEntry, model: ServedModel) -> str | None:
        if (name := model.chat_template) is None or name in FORMATS:
            return FORMATS.get(name or "")
        file = self._file(entry, model, "chat_template", name)
        try:
            return file.read_text()[:_MAX_TEMPLATE]
        except (OSError, UnicodeDecodeError) as error:
            known = ", ".join(sorted(FORMATS))
            reason = getattr(error, "strerror", None) or "it is not a text"
            raise BadUpstream(
                f"'models' of {entry.name}: 'chat_template' of {model.name} is {name!r}, which is"
                f" neither {known} nor a file in the folder of 'model_files': {reason}"
            ) from None

    def _file(self, entry: UpstreamEntry, model: ServedModel, field_: str, name: str) -> Path:
        if _FILE.fullmatch(name) is None:
            reason = "it must be the name of a file without a folder"
        elif self.files is None:
            reason = "the setting 'model_files' is empty"
        else:
            return self.files / name
        place = f"'models' of {entry.name}: '{field_}' of {model.name}"
        raise BadUpstream(f"{place} is {name!r}: {reason}")

    def _over(self, web: Web, entry: UpstreamEntry) -> Upstream:
        declared = self._declared(entry)
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
        tuple(map(_served, backend.models)),
        backend.enabled,
        backend.labels or {},
    )


def _served(stored: dict[str, Any]) -> ServedModel:
    tensors = stored.get("tensors")
    return ServedModel(**{**stored, "tensors": tensors and TensorNames(**tensors)})


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
