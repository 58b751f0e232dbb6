"""What the response cache costs one request, in memory: the key, the lookup, and the answer.

CPU time of one core for a conversation of 1.5 kB and an answer of 64 events, without the request
around it. A hit includes reading the events; a miss includes keeping them.
"""

import asyncio
import time

from frontend.cache.answers import AnswerCache, Slot
from frontend.cache.entries import join_groups, read_events, write_group
from frontend.cache.memory import MemoryEntries
from frontend.domain.caching import NOT_ASKED, CachePolicy
from frontend.domain.generation import Conversation, Generation, Reply
from frontend.domain.identity import Caller, Role
from frontend.domain.messages import Message
from frontend.domain.sampling import Sampling
from tests.support.events import event

LIMIT_US = 100
_CALLER = Caller("u" * 26, "name", Role("student", 1, frozenset()))
_MESSAGES = (Message("system", "You are helpful. " * 8), Message("user", "word " * 280))
_WORK = Generation(Conversation(_MESSAGES), Sampling(temperature=0, max_tokens=64), Reply())
_GROUPS = [[event(" word", token_ids=[123], completion_tokens=one + 1)] for one in range(64)]


def measure(rounds: int = 5, requests: int = 2000) -> list[tuple[str, float]]:
    """Microseconds of CPU for each hit and each miss: the fastest round."""
    return asyncio.run(_measure(rounds, requests))


async def _measure(rounds: int, requests: int) -> list[tuple[str, float]]:
    cache = AnswerCache(MemoryEntries(64 * 2**20), CachePolicy("deterministic"))
    found = []
    for what, work in (("miss", _miss), ("hit", _hit)):
        costs = []
        for _ in range(rounds):
            begun_s = time.process_time()
            for number in range(requests):
                await work(cache, str(number % 100))
            costs.append(time.process_time() - begun_s)
        found.append((what, min(costs) * 1e6 / requests))
    return found


def _slot(cache: AnswerCache, revision: str) -> Slot:
    slot = cache.slot(_CALLER, NOT_ASKED, ("m", revision), _WORK)
    assert slot is not None
    return slot


async def _miss(cache: AnswerCache, revision: str) -> None:
    slot = _slot(cache, revision)
    await cache.get(slot)
    await cache.put(slot, join_groups([write_group(group) for group in _GROUPS]))


async def _hit(cache: AnswerCache, revision: str) -> None:
    content = await cache.get(_slot(cache, revision))
    assert content is not None
    read_events(content)
