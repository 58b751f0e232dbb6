"""Slots are bounded, lines are bounded, and nothing leaks a slot."""

import asyncio

import pytest

from frontend.errors import BackendTimeout, Overloaded
from frontend.generation.admission import Admission


async def hold(admission: Admission, release: asyncio.Event) -> None:
    async with admission.slot(5):
        await release.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_running_and_waiting_are_bounded() -> None:
    admission, release = Admission(max_running=2, max_waiting=1), asyncio.Event()
    tasks = [asyncio.create_task(hold(admission, release)) for _ in range(3)]
    await settle()
    assert admission.running == 2
    with pytest.raises(Overloaded):
        await hold(admission, release)
    release.set()
    await asyncio.gather(*tasks)
    assert admission.idle


async def test_waiting_ends_with_the_deadline() -> None:
    admission, release = Admission(1, 1), asyncio.Event()
    task = asyncio.create_task(hold(admission, release))
    await settle()
    with pytest.raises(BackendTimeout):
        async with admission.slot(0.01):
            pass
    release.set()
    await task
    assert admission.idle


async def test_cancelling_leaks_no_slot() -> None:
    admission, release = Admission(1, 4), asyncio.Event()
    tasks = [asyncio.create_task(hold(admission, release)) for _ in range(3)]
    await settle()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert admission.idle
    async with admission.slot(0.1):
        assert admission.running == 1


async def test_draining_takes_nothing_new() -> None:
    admission = Admission(1, 1, draining=True)
    with pytest.raises(Overloaded, match="shutting down"):
        async with admission.slot(1):
            pass
