"""Converts answers to bytes and back. Pure. Damaged entries, or those of another key, are refused.

An entry begins with its version, a digest over key, time and content, and the time when it was
made. With a secret the digest is a signature, which other writers to Redis cannot forge.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import accumulate
from operator import attrgetter
from typing import Any

import orjson

from frontend.domain.events import Event
from frontend.domain.images import ImageResult
from frontend.domain.vectors import Scores, Vectors

Groups = list[list[Event]]
_VERSION = b"\x01"
_DIGEST = 16
_HEAD = len(_VERSION) + _DIGEST + 8
_NAMES = [one.name for one in fields(Event)]
_NEEDED = 8
"""Fields of an event without a default."""
_REQUIRED, _OPTIONAL = attrgetter(*_NAMES[:_NEEDED]), attrgetter(*_NAMES[_NEEDED:])


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals entries, and opens those that it sealed."""

    secret: bytes = b""

    def seal(self, key: bytes, content: bytes, now_us: int) -> bytes:
        """The entry of a content."""
        body = now_us.to_bytes(8, "big") + content
        return _VERSION + self._digest(key, body) + body

    def open(self, key: bytes, entry: bytes) -> tuple[bytes, int] | None:
        """The content and the time of sealing; None if it was not sealed for this key."""
        if len(entry) < _HEAD or entry[:1] != _VERSION:
            return None
        body = entry[1 + _DIGEST :]
        if not hmac.compare_digest(entry[1 : 1 + _DIGEST], self._digest(key, body)):
            return None
        return body[8:], int.from_bytes(body[:8], "big")

    def _digest(self, key: bytes, body: bytes) -> bytes:
        digest = hashlib.blake2b(key, digest_size=_DIGEST, key=self.secret)
        digest.update(body)
        return digest.digest()


def write_group(events: Iterable[Event]) -> bytes:
    """Events that came together."""
    return orjson.dumps([_fields(event) for event in events])


def join_groups(groups: Iterable[bytes]) -> bytes:
    """Groups in the order in which they came."""
    return b"e[" + b",".join(groups) + b"]"


def _fields(event: Event) -> tuple[Any, ...]:
    # most events end with fields that have nothing
    rest = _OPTIONAL(event)
    return _REQUIRED(event) + rest if any(rest) else _REQUIRED(event)


def read_events(content: bytes) -> Groups | None:
    """The groups that were joined; None for anything else."""
    if content[:1] != b"e":
        return None
    try:
        groups = [[_event(*values) for values in group] for group in orjson.loads(content[1:])]
    except (orjson.JSONDecodeError, TypeError, IndexError):
        return None
    return groups or None


def _event(index: Any, text: Any, token_ids: Any, finish: Any, stop: Any, *more: Any) -> Event:
    # what a renderer would fail at after the first byte; without a secret anybody can seal
    if type(index) is not int or type(text) is not str or type(token_ids) is not list:
        raise TypeError
    if (finish is not None and type(finish) is not str) or type(more[0]) is not int:
        raise TypeError
    return Event(index, text, token_ids, finish, stop, *more)


def write_vectors(vectors: Vectors) -> bytes:
    """Vectors with their counts."""
    head = [vectors.count, vectors.dimensions, vectors.prompt_tokens, vectors.normalized]
    return b"v" + orjson.dumps(head) + b"\n" + vectors.raw


def read_vectors(content: bytes) -> Vectors | None:
    """The opposite of `write_vectors`; None for anything else."""
    head, _, raw = content[1:].partition(b"\n")
    try:
        count, dimensions, tokens, normalized = orjson.loads(head)
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    if content[:1] != b"v" or len(raw) != 4 * count * dimensions:
        return None
    return Vectors(raw, count, dimensions, tokens, normalized)


def write_scores(scores: Scores) -> bytes:
    """Scores with their count of tokens."""
    return b"s" + orjson.dumps([scores.values, scores.prompt_tokens])


def read_scores(content: bytes) -> Scores | None:
    """The opposite of `write_scores`; None for anything else."""
    try:
        values, tokens = orjson.loads(content[1:])
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    return Scores(values, tokens) if content[:1] == b"s" else None


def write_images(images: ImageResult) -> bytes:
    """The files with their sizes and the count of tokens."""
    head = [images.prompt_tokens, *map(len, images.files)]
    return b"i" + orjson.dumps(head) + b"\n" + b"".join(images.files)


def read_images(content: bytes) -> ImageResult | None:
    """The opposite of `write_images`; None for anything else."""
    head, _, raw = content[1:].partition(b"\n")
    try:
        tokens, *sizes = orjson.loads(head)
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    numbers = all(type(one) is int and one >= 0 for one in (tokens, *sizes))
    if content[:1] != b"i" or not sizes or not numbers or sum(sizes) != len(raw):
        return None
    ends = [*accumulate(sizes)]
    files = [raw[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    return ImageResult(files, tokens)
