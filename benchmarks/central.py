"""`python -m benchmarks.central`: how long a decision takes with this process's deficits, and with
all deficits in one Redis on this machine, as a ratio. See docs/decisions/0051.

Both decide by weighted deficit round robin among the same number of waiting users, with the same
costs and weights. In Redis it is one script for each decision, over a socket file.
"""

import asyncio
import random
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.asyncio import Redis

from benchmarks.scheduling import fill, next_job
from frontend.scheduling.policy import FairShare
from tests.support.redis import RedisServer

_DECISIONS = 1500
_QUANTUM = 2000
_COSTS = 10, 3000
_DECIDE = """
for _ = 1, 100000 do
  local user = redis.call('LINDEX', KEYS[1], 0)
  local cost = tonumber(redis.call('HGET', KEYS[3], user))
  if tonumber(redis.call('HGET', KEYS[2], user)) >= cost then
    redis.call('HINCRBY', KEYS[2], user, -cost)
    redis.call('HSET', KEYS[3], user, ARGV[1])
    return user
  end
  redis.call('LMOVE', KEYS[1], KEYS[1], 'LEFT', 'RIGHT')
  local weight = tonumber(redis.call('HGET', KEYS[4], redis.call('LINDEX', KEYS[1], 0)))
  redis.call('HINCRBY', KEYS[2], redis.call('LINDEX', KEYS[1], 0), weight * ARGV[2])
end
"""


def here(users: int) -> list[float]:
    """Seconds of each decision in this process."""
    policy, draw, seconds = FairShare(1), random.Random(1), list[float]()
    fill(policy, users, draw)
    current = next_job(policy)
    for _ in range(_DECISIONS):
        policy.end(current, 0.0)
        policy.settle(current, current.cost + draw.randrange(100))
        begun_s = time.perf_counter()
        following = next_job(policy)
        seconds.append(time.perf_counter() - begun_s)
        policy.add(current, 0.0)
        current = following
    return seconds


async def central(url: str, users: int) -> list[float]:
    """Seconds of each decision in Redis, as the process that waits for it sees them."""
    draw, seconds = random.Random(1), list[float]()
    names = [f"user-{number}" for number in range(users)]
    async with Redis.from_url(url, protocol=2) as redis:
        await redis.flushall()
        await redis.rpush("ring", *names)
        await redis.hset("deficit", mapping=dict.fromkeys(names, 0))
        await redis.hset("cost", mapping={name: draw.randrange(*_COSTS) for name in names})
        await redis.hset("weight", mapping={name: 1 + n % 10 for n, name in enumerate(names)})
        decide = redis.register_script(_DECIDE)
        for _ in range(_DECISIONS):
            begun_s = time.perf_counter()
            keys = ["ring", "deficit", "cost", "weight"]
            await decide(keys=keys, args=[draw.randrange(*_COSTS), _QUANTUM])
            seconds.append(time.perf_counter() - begun_s)
    return seconds


def main() -> None:
    """Prints the medians, the best of five rounds that alternate."""
    with TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder))
        redis.start()
        try:
            for users in (10, 1000):
                rounds = [
                    (
                        statistics.median(here(users)),
                        statistics.median(asyncio.run(central(redis.url, users))),
                    )
                    for _ in range(5)
                ]
                own, other = (1e6 * min(each) for each in zip(*rounds, strict=True))
                ratio = statistics.median(two / one for one, two in rounds)
                print(f"{users} waiting: {own:.1f} us here, {other:.1f} us in Redis, {ratio:.1f} x")
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
