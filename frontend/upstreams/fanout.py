"""Several streams of events as one; the first failure ends all of them.

At most `WIDTH` run at once, so that one request with thousands of prompts neither fills the queue
nor starves others. Events of different streams interleave as they come.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from frontend.domain.events import Event, Events

WIDTH = 32
_BUFFERED = 64  # groups of events that may wait for a slow reader

Numbered = tuple[int, list[Event]]
_Arrival = Numbered | Exception | None


async def fan_out(streams: Sequence[Callable[[], Events]]) -> AsyncGenerator[Numbered, None]:
    """(number of the stream, its events) for every group of events. Raises what a stream raises."""
    # the common case, without tasks and a queue
    if len(streams) == 1:
        async with aclosing(streams[0]()) as events:
            async for group in events:
                yield 0, group
        return
    arrived: asyncio.Queue[_Arrival] = asyncio.Queue(maxsize=_BUFFERED)
    left = iter(enumerate(streams))

    async def work() -> None:
        try:
            for number, start in left:
                async with aclosing(start()) as events:
                    async for group in events:
                        await arrived.put((number, group))
            await arrived.put(None)
        except Exception as error:  # raised again by the reader, which would otherwise wait forever
            await arrived.put(error)

    workers = [asyncio.create_task(work()) for _ in range(min(WIDTH, len(streams)))]
    try:
        async for arrival in _until_done(arrived, len(workers)):
            yield arrival
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _until_done(
    arrived: asyncio.Queue[_Arrival], workers: int
) -> AsyncGenerator[Numbered, None]:
    while workers:
        arrival = await arrived.get()
        if arrival is None:
            workers -= 1
        elif isinstance(arrival, Exception):
            raise arrival
        else:
            yield arrival
