"""Slots are bounded, queues are bounded, and nothing leaks a slot."""

import asyncio

import pytest

from frontend.errors import BackendTimeout, Overloaded
from frontend.generation.admission import Admission


async def hold(admission: Admission, release: asyncio.Event) -> None:
    async with admission.slot(5):
        await release.wait()


async def let_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_running_and_waiting_are_bounded() -> None:
    admission, release = Admission(max_running=2, max_waiting=1), asyncio.Event()
    tasks = [asyncio.create_task(hold(admission, release)) for _ in range(3)]
    await let_run()
    assert admission.running == 2
    with pytest.raises(Overloaded):
        await hold(admission, release)
    release.set()
    await asyncio.gather(*tasks)
    assert admission.idle


async def test_waiting_ends_with_the_deadline() -> None:
    admission, release = Admission(1, 1), asyncio.Event()
    task = asyncio.create_task(hold(admission, release))
    await let_run()
    with pytest.raises(BackendTimeout):
        await admission.acquire(0.01)
    release.set()
    await task
    assert admission.idle


async def test_cancelling_leaks_no_slot() -> None:
    admission, release = Admission(1, 4), asyncio.Event()
    tasks = [asyncio.create_task(hold(admission, release)) for _ in range(3)]
    await let_run()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert admission.idle
    await admission.acquire(0.1)
    assert admission.running == 1


async def test_draining_takes_nothing_new() -> None:
    admission = Admission(1, 1, draining=True)
    with pytest.raises(Overloaded, match="shutting down"):
        await admission.acquire(1)


async def test_the_queue_is_served_in_order() -> None:
    admission, served = Admission(1, 8), list[int]()

    async def take(number: int) -> None:
        async with admission.slot(5):
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(take(number) for number in range(6)))
    assert served == list(range(6))
    assert admission.idle


async def test_a_slot_granted_to_someone_who_just_left_is_passed_on() -> None:
    admission, release = Admission(1, 2), asyncio.Event()
    holder = asyncio.create_task(hold(admission, release))
    await let_run()
    leaver = asyncio.create_task(hold(admission, release))
    stayer = asyncio.create_task(hold(admission, release))
    await let_run()
    release.set()
    await holder  # the leaver's turn is granted now, and it is cancelled before it wakes
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    await stayer
    assert admission.idle


async def test_the_end_of_a_drain_refuses_those_who_wait() -> None:
    admission, release = Admission(1, 2), asyncio.Event()
    holder = asyncio.create_task(hold(admission, release))
    waiter = asyncio.create_task(hold(admission, release))
    await let_run()
    admission.refuse_waiting()
    with pytest.raises(Overloaded, match="shutting down"):
        await waiter
    release.set()
    await holder
    assert admission.idle


class Held:
    """Requests that hold a slot until they are let go."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.running: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *names: str) -> None:
        """Those whose names begin with `b` are background requests."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._hold(name)))
        await let_run()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await let_run()

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hold(self, name: str) -> None:
        async with self._admission.slot(5, background=name.startswith("b")):
            self.running.append(name)
            await self._ends[name].wait()
        self.running.remove(name)


async def test_background_requests_run_while_nothing_else_does() -> None:
    admission = Admission(4, 4)
    held = Held(admission)
    await held.start("b1", "b2", "b3", "b4", "b5")
    assert held.running == ["b1", "b2", "b3", "b4"]
    await held.end("b1")
    assert held.running == ["b2", "b3", "b4", "b5"]
    assert admission.idle  # what a drain waits for
    await held.cancel()
    assert admission.running == 0


async def test_beside_others_only_one_of_them_begins() -> None:
    admission = Admission(4, 4)
    held = Held(admission)
    await held.start("a1", "b1", "b2", "a2", "b3")
    assert held.running == ["a1", "b1", "a2"]
    await held.end("b1")
    assert held.running == ["a1", "a2", "b2"]
    await held.end("a1")
    assert held.running == ["a2", "b2"]
    await held.end("a2")
    assert held.running == ["b2", "b3"]
    await held.cancel()
    assert admission.running == 0


async def test_who_waits_goes_before_the_background() -> None:
    admission = Admission(1, 4)
    held = Held(admission)
    await held.start("b1", "b2", "a1")
    await held.end("b1")
    assert held.running == ["a1"]
    await held.end("a1")
    assert held.running == ["b2"]
    await held.cancel()
    assert admission.running == 0


async def test_a_drain_refuses_what_waits_in_the_background() -> None:
    admission = Admission(1, 4)
    held = Held(admission)
    await held.start("a1")
    waiting = asyncio.create_task(held._hold("b1"))
    held._ends["b1"] = asyncio.Event()
    await let_run()
    admission.drain()
    with pytest.raises(Overloaded, match="shutting down"):
        await waiting
    await held.cancel()
