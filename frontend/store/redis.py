"""Redis: rates and running requests that several gateways count together, in one script.

Steps in, numbers out: what they mean is decided in `accounts.shared`. Each call is one round trip
with a time limit, and is not repeated here. Neither errors nor logs contain the URL.
"""

import asyncio
import contextlib
from collections.abc import Sequence
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
        try:
            self._redis: Redis = Redis.from_url(
                url,
                protocol=2,
                decode_responses=True,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            # the library's text may quote a part of the URL
            raise ValueError("must be like redis://:PASSWORD@HOST:6379/0 or rediss://…") from None

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


@contextlib.asynccontextmanager
async def _translated(timeout_s: float) -> Any:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"Redis did not answer within {timeout_s:g} s") from None
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis: {type(error).__name__}: {str(error)[:200]}") from None
