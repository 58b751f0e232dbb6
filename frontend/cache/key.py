"""The key of an answer: a SHA-256 over its owner, its model and everything that affects it. Pure.

Streamed and whole answers have the same key, in all dialects, and so do requests that differ only
in the name of an end user or the client's timeout.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from frontend.domain.generation import Generation
from frontend.domain.identity import Caller
from frontend.domain.images import ImageRequest
from frontend.domain.sampling import Sampling
from frontend.domain.vectors import Embedding, Pairs

_VERSION = 1
"""Of this module: what is cached under another one is never found."""
_UNUSED = {
    *("param", "schemas", "validation", "images", "sampling", "cache_salt", "session"),
    "known_bytes",
}
"""What does not change an answer, and what is written in another way."""
_FLOATS = {
    *("temperature", "top_p", "presence_penalty", "frequency_penalty"),
    *("min_p", "repetition_penalty"),
}
_GENERATION = [one.name for one in fields(Generation) if one.name not in _UNUSED]
_SAMPLING = [one.name for one in fields(Sampling)]


def owner_of(caller: Caller, scope: str) -> str:
    """The owner whose answers a caller may get; "" if there is none, such as without a group."""
    owner = getattr(caller, scope)
    return f"{scope}:{owner}" if owner else ""


def key_of(owner: str, model: str, work: Generation | Embedding | Pairs | ImageRequest) -> bytes:
    """`model`: its name and everything that tells one of its versions from another."""
    kind = type(work).__name__
    parts = _generation(work) if isinstance(work, Generation) else _fields(work)
    return hashlib.sha256(
        orjson.dumps([_VERSION, owner, model, kind, parts], default=_plain)
    ).digest()


def _generation(work: Generation) -> list[Any]:
    sampling = {name: _number(name, getattr(work.sampling, name)) for name in _SAMPLING}
    kept = [getattr(work, name) for name in _GENERATION]
    # a conversation and a passage could look the same
    kind = type(work.prompt).__name__
    # the expected schemas decide which answers are valid; how often they are retried does not
    expected = () if work.validation is None else work.validation.expected
    schemas = [[one.source.decode(), one.draft, one.use.tool, one.use.strict] for one in expected]
    images = [hashlib.sha256(image).hexdigest() for image in work.images]
    return [kind, kept, sampling, schemas, images]


def _number(name: str, value: Any) -> Any:
    # 0 and 0.0 are the same temperature
    return float(value) if name in _FLOATS and value is not None else value


def _fields(work: Embedding | Pairs | ImageRequest) -> list[Any]:
    return [getattr(work, one.name) for one in fields(work) if one.name != "params"]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
