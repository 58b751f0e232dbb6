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
