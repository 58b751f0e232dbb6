"""Redis: rates and running requests that several gateways count together, in one script; and the
entries of the response cache.

Steps in, numbers out: what they mean is decided in `accounts.shared`. Each call is one round trip
with a time limit, and is not repeated here. Neither errors nor logs contain the URL.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from frontend.domain.ids import new_id
from frontend.errors import StoreUnavailable

_PREFIX = "{triton-gateway}:"
"""The braces keep all keys together where Redis is divided by key."""
_SCANNED = 1000
_SCRIPT = Path(__file__).with_name("limits.lua")


class Place(NamedTuple):
    """Where a limit is counted. `field` of "": the running requests of a subject."""

    key: str
    field: str = ""


def place_of_rate(scope: str, subject: str, model: str, measure: str, window: str) -> Place:
    """Of a rate. One key for each subject."""
    return Place(f"{_PREFIX}rate:{scope}:{subject}", f"{measure}:{window}:{model}")


def place_of_slots(scope: str, subject: str, model: str) -> Place:
    """Of running requests."""
    return Place(f"{_PREFIX}running:{scope}:{subject}:{model}")


def hold_key(request_id: str) -> str:
    """Where it is noted what a request took."""
    return f"{_PREFIX}hold:{request_id}"


@dataclass(frozen=True, slots=True)
class Replies:
    """`epoch`: another one than the caller's means that the steps were not carried out."""

    epoch: str
    values: list[Any]


class SharedCounters:
    """One Redis. Raises StoreUnavailable when it does not answer within `timeout_s`."""

    def __init__(self, url: str, timeout_s: float = 1.0, lease_us: int = 0) -> None:
        """Raises ValueError for a URL that is not valid. Does not connect yet."""
        self._timeout_s, self._lease_us = timeout_s, lease_us
        self._script = _SCRIPT.read_text()
        self._digest = ""
        self._redis = _connect(url, timeout_s, decode=True)

    async def run(self, epoch: str, steps: Sequence[Sequence[Any]]) -> Replies:
        """Carries out the steps, one after another, as one."""
        args = (f"{_PREFIX}epoch", epoch, new_id(), self._lease_us, orjson.dumps(steps))
        async with _translated(self._timeout_s):
            try:
                reply = await self._redis.evalsha(self._digest, 1, *args)
            except NoScriptError:  # at the first call, or after a restart
                self._digest = await self._redis.script_load(self._script)
                reply = await self._redis.evalsha(self._digest, 1, *args)
        head, *values = cast(list[Any], reply)
        return Replies(head, values)

    async def forget(self, place: Place) -> None:
        """Sets a rate to unused."""
        async with _translated(self._timeout_s):
            await self._redis.hdel(place.key, place.field)

    async def close(self) -> None:
        """Closes its connections."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()


class RedisEntries:
    """Entries of the response cache. Raises StoreUnavailable when Redis does not answer in time."""

    def __init__(self, url: str, timeout_s: float = 1.0) -> None:
        """Raises ValueError for a URL that is not valid. Does not connect yet."""
        self._timeout_s = timeout_s
        self._redis = _connect(url, timeout_s, decode=False)

    async def get(self, owner: str, model: str, key: bytes) -> bytes | None:
        """An entry; Redis forgets those that are too old."""
        async with _translated(self._timeout_s):
            return cast(bytes | None, await self._redis.get(_entry(owner, model, key)))

    async def put(self, owner: str, model: str, key: bytes, entry: bytes, ttl_s: int) -> None:
        """Keeps an entry."""
        async with _translated(self._timeout_s):
            await self._redis.set(_entry(owner, model, key), entry, ex=ttl_s)

    async def purge(self, owner: str = "", model: str = "") -> int:
        """Deletes the entries of an owner, of a model, of both, or all. How many there were."""
        gone = 0
        async for keys in self._all(owner, model):
            async with _translated(self._timeout_s):
                gone += await self._redis.unlink(*keys)
        return gone

    async def count(self) -> int:
        """How many entries there are."""
        return sum([len(keys) async for keys in self._all("", "")])

    async def _all(self, owner: str, model: str) -> AsyncIterator[list[bytes]]:
        """Keys, some at a time: none of the calls holds Redis up for long."""
        pattern = f"{_PREFIX}cache:{_short(owner)}:{_short(model)}:*"
        cursor = 0
        while True:
            async with _translated(self._timeout_s):
                cursor, keys = await self._redis.scan(cursor, match=pattern, count=_SCANNED)
            if keys:
                yield cast(list[bytes], keys)
            if cursor == 0:
                return

    async def close(self) -> None:
        """Closes its connections."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()


def _entry(owner: str, model: str, key: bytes) -> str:
    return f"{_PREFIX}cache:{_short(owner)}:{_short(model)}:{key.hex()}"


def _short(text: str) -> str:
    """A part of a key that has no special characters of patterns; `*` for any."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else "*"


def _connect(url: str, timeout_s: float, *, decode: bool) -> Redis:
    try:
        return Redis.from_url(
            url,
            protocol=2,
            decode_responses=decode,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # the library's text may quote a part of the URL
        raise ValueError("must be like redis://:PASSWORD@HOST:6379/0 or rediss://…") from None


@contextlib.asynccontextmanager
async def _translated(timeout_s: float) -> Any:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"Redis did not answer within {timeout_s:g} s") from None
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis: {type(error).__name__}: {str(error)[:200]}") from None
