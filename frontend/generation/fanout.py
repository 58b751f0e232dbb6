"""Several prompts of one request as one stream of events; the first failure ends all of them.

At most `WIDTH` prompts run at once, so that one request with thousands of prompts neither fills the
line nor starves others. Events of different prompts interleave as they come.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from frontend.domain.events import Event
from frontend.domain.generation import Generation
from frontend.domain.models import Model
from frontend.generation.run import Runner

WIDTH = 32
_BUFFERED = 64  # groups of events that may wait for a slow reader

_Arrival = tuple[int, list[Event]] | Exception | None


async def generate_all(
    runner: Runner, model: Model, generations: list[Generation], engine_id: str
) -> AsyncIterator[tuple[int, list[Event]]]:
    """(number of the prompt, its events) for every group of events. Raises GatewayError."""
    runner.check_generations(model, generations)
    if len(generations) == 1:
        events = runner.generate(model, generations[0], engine_id)
        async with aclosing(events):  # type: ignore[type-var]
            async for group in events:
                yield 0, group
        return
    arrived: asyncio.Queue[_Arrival] = asyncio.Queue(maxsize=_BUFFERED)
    left = iter(enumerate(generations))

    async def work() -> None:
        try:
            for number, generation in left:
                events = runner.generate(model, generation, f"{engine_id}-{number}")
                async with aclosing(events):  # type: ignore[type-var]
                    async for group in events:
                        await arrived.put((number, group))
            await arrived.put(None)
        except Exception as error:  # raised again by the reader, who would wait for ever else
            await arrived.put(error)

    workers = [asyncio.create_task(work()) for _ in range(min(WIDTH, len(generations)))]
    try:
        async for arrival in _until_done(arrived, len(workers)):
            yield arrival
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _until_done(
    arrived: asyncio.Queue[_Arrival], workers: int
) -> AsyncIterator[tuple[int, list[Event]]]:
    while workers:
        arrival = await arrived.get()
        if arrival is None:
            workers -= 1
        elif isinstance(arrival, Exception):
            raise arrival
        else:
            yield arrival
